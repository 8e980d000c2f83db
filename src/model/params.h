/* Between the files of this room: the layout of a model's parameters. */
#ifndef TN_MODEL_PARAMS_H
#define TN_MODEL_PARAMS_H
#include "model/model.h"

/* Fills tensor list, layer offsets and store sizes (without data) from m->desc. Score tensors exist
 * when desc.num_labels > 0; the LM head only when it is zero. */
tn_status tn_model_layout(tn_model *m, bool score_bias, tn_err *e);
/* Appends the score head's tensors (room for two and its parts in m->tensor) and a store for them, without data. */
tn_status tn_model_layout_head(tn_model *m, bool bias, tn_err *e);
/* Stores: counted, their elements allocated later. `what` for messages. */
tn_status tn_store_new(tn_store **s, tn_err *e);
tn_status tn_store_alloc(tn_store *s, size_t elem, const char *what, tn_err *e);
void tn_store_free(tn_store *s, size_t elem);
void tn_copy_elements(tn_backend *b, void *to, const void *from, size_t n);
/* Norm weights and biases: one-dimensional in files, spared by weight decay. */
bool tn_tensor_is_vector(const tn_tensor *t);
/* How the moments of a tensor of n elements are kept in a model that keeps `kind`. */
tn_moment_kind tn_moment_kind_of(tn_moment_kind kind, size_t n, bool vector);
/* An empty model of `d`: layout made, stores allocated (zeroed), packs not yet. */
tn_status tn_model_alloc(tn_model **m, const tn_desc *d, tn_backend *be, bool score_bias,
                         tn_err *e);
/* Allocates the packed forms, points the weights at them and packs. */
tn_status tn_model_pack_new(tn_model *m, tn_err *e);
/* The same of a model that is frozen for ever: fill() gives elements [begin, end) of the trunk, a matrix, their values, and they go when it
 * is packed (tn_model_drop_masters), so that there is one at a time. All that stays (tn_tensor_stays) has its values before. */
typedef void tn_fill_fn(tn_model *m, const void *from, size_t begin, size_t end);
tn_status tn_model_pack_frozen(tn_model *m, tn_fill_fn *fill, const void *from, tn_err *e);
/* Norms, biases, the embedding and score heads: what is read as it is, and not packed. */
bool tn_tensor_stays(const tn_model *m, const tn_tensor *t);
/* TN_BUG after tn_model_drop_masters. */
tn_status tn_model_has_masters(const tn_model *m, tn_err *e);
/* adapter.c: an adapter for models of `d`, its values zero and not yet packed. */
tn_status tn_adapter_new(tn_adapter **a, const tn_desc *d, const tn_lora_spec *s, tn_backend *be,
                         tn_err *e);
/* Of such an adapter, without making it: elements, bytes of packed forms, width of a run's products. */
typedef struct tn_adapter_sizes {
    size_t n, packed;
    int width;
} tn_adapter_sizes;
tn_adapter_sizes tn_adapter_size(const tn_desc *d, const tn_lora_spec *s, const tn_backend *be);
void tn_adapter_free(tn_adapter *a, size_t elem);
void tn_adapter_pack(tn_adapter *a, int layers, tn_backend *be);
/* Takes the adapter over (also when it fails): it becomes m's last. */
tn_status tn_model_hang(tn_model *m, tn_adapter *a, tn_err *e);
/* score_mean and score_sd from DIR/tenet.json, when it has them. */
tn_status tn_model_read_score_norm(tn_model *m, const char *dir, tn_err *e);
/* tn_model_save with another limit of bytes a shard. */
tn_status tn_model_save_shards(const tn_model *m, const char *dir, const char *dtype,
                               size_t shard_bytes, tn_err *e);
#endif
