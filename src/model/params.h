/* Between the files of this room: the layout of a model's parameters. */
#ifndef TN_MODEL_PARAMS_H
#define TN_MODEL_PARAMS_H
#include "model/model.h"

/* Fills tensor list, layer offsets and store sizes (without data) from m->desc. Score tensors exist
 * when desc.num_labels > 0; the LM head only when it is zero. */
tn_status tn_model_layout(tn_model *m, bool score_bias, tn_err *e);
/* Norm weights and biases: one-dimensional in files, spared by weight decay. */
bool tn_tensor_is_vector(const tn_tensor *t);
/* An empty model of `d`: layout made, stores allocated (zeroed), packs not yet. */
tn_status tn_model_alloc(tn_model **m, const tn_desc *d, tn_backend *be, bool score_bias,
                         tn_err *e);
/* Allocates the packed forms (of the transposes too when `train`), points the weights at them and
 * packs. */
tn_status tn_model_pack_new(tn_model *m, bool train, tn_err *e);
/* tn_model_save with another limit of bytes a shard. */
tn_status tn_model_save_shards(const tn_model *m, const char *dir, const char *dtype,
                               size_t shard_bytes, tn_err *e);
#endif
