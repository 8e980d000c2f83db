/* Which part of an embedding table training has reached.
 *
 * A gradient of the table [V, D] is zero but for the rows of the ids in the batch, unless an LM head that is tied to it
 * is trained. AdamW leaves a number whose gradient and moments are zero as it is (or decays it), so what no token has
 * named needs no gradient and no moments: not in time, and not in memory, since those pages are never written.
 *
 * The table is the first tensor of its store. Its elements are taken by blocks of TN_MOMENT_BLOCK. The invariant: where
 * a block is not live, gradient, spare gradients and moments are zero. A block that is live for nothing changes no bit;
 * so the map is not saved: a resumed run finds it again where the moments are not zero. */
#ifndef TN_MODEL_LIVE_H
#define TN_MODEL_LIVE_H
#include "model/model.h"

static inline size_t tn_live_blocks(size_t n) { return (n + TN_MOMENT_BLOCK - 1) / TN_MOMENT_BLOCK; }
/* Is the embedding of such a model (when it is trained) only reached by its tokens? `score`: it has a score head. */
bool tn_live_kept(const tn_desc *d, bool score);
/* The blocks of these ids' rows; `pad` has no gradient (-1: none). live [tn_live_blocks(V*D)]. */
void tn_live_mark(uint8_t *live, int D, const int32_t *ids, size_t n, int pad);
/* Bytes of the whole pages on which the live ones of n elements lie, kept as a gradient (TN_MOMENTS_FULL) or a moment. */
size_t tn_live_bytes(const uint8_t *live, size_t n, tn_moment_kind kind, size_t elem);

/* A store with a map, nothing live. Before its gradient and moments are allocated. */
tn_status tn_live_new(tn_store *s, size_t n, tn_err *e);
/* Bytes of the table in this rank's part of a moment: its first ones. 0 without a map. */
size_t tn_live_moment_bytes(const tn_model *m, const tn_store *s);
/* For those who write gradients of a store themselves: everything is live from now on. */
void tn_live_all(tn_store *s);
/* grad = 0 (whole: where it was never a gradient, too); to += from, both gradients of the store. */
void tn_live_zero(tn_backend *b, const tn_store *s, void *grad, bool whole);
void tn_live_add(tn_backend *b, const tn_store *s, void *to, void *from);
/* For a gradient that is in no memory yet, and zeros: what will be written gets its pages now, by all threads, large ones where they can be
 * had. The first access of a product is a read, which would get the kernel's page of zeros first. */
void tn_live_touch(tn_backend *b, const tn_store *s, void *grad);
/* A moment (s->m or s->v) from its bytes in a checkpoint; what is not zero becomes live. */
void tn_live_read(const tn_model *m, tn_store *s, void *moment, const void *from);
#endif
