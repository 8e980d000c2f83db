/* Floating-point operations, counted where they are done: two per multiply-add of the matrix products (heads and adapters
 * among them) and of attention's visible pairs; what is computed again counts again. Norms, activations and softmax are left
 * out, as is usual.
 *
 * tn_flop_open puts a table in front of the backend's own; tn_backend.flop is the sum since then. The profiler
 * (ops/profile.h), in front of both, takes each operation's from there. */
#ifndef TN_OPS_FLOP_H
#define TN_OPS_FLOP_H
#include "base/status.h"
#include "ops/ops.h"

tn_status tn_flop_open(tn_backend *b, tn_err *e); /* by tn_backend_open */
#endif
