/* AdamW over a model's trained tensors, and the norm of its gradients. */
#include "model/params.h"

double tn_model_grad_sumsq(tn_model *m) {
    double sum = 0;
    const tn_tensor *t;
    for (int i = 0; (t = tn_model_param(m, i)); i++)
        sum += m->be->op->sumsq(m->be, tn_tensor_grad(t, m->be), (size_t)t->rows * (size_t)t->cols);
    return sum;
}

void tn_model_adamw(tn_model *m, double lr, double beta1, double beta2, double eps, double wd,
                    bool decay_all, long step, double gscale) {
    tn_backend *b = m->be;
    const tn_tensor *t;
    for (int i = 0; (t = tn_model_param(m, i)); i++) {
        double decay = decay_all || !tn_tensor_is_vector(t) ? wd : 0;
        b->op->adamw(b, tn_tensor_data(t, b), tn_tensor_grad(t, b), tn_at(b, t->store->m, t->off),
                     tn_at(b, t->store->v, t->off), (size_t)t->rows * (size_t)t->cols, lr, beta1,
                     beta2, eps, decay, step, gscale);
    }
    tn_model_pack(m);
}
