/* The verbs: each is one file src/cmd/NAME.c that defines `const tn_verb tn_verb_NAME`.
 * A new verb is one more line here; the order is the order of `tenet --help`. */
#ifndef TN_CMD_VERBS_H
#define TN_CMD_VERBS_H
#include "conf/conf.h"

#define TN_VERBS(X)                                                                  \
    X(pretrain)                                                                      \
    X(sft)                                                                           \
    X(reward)                                                                        \
    X(rlthf)                                                                         \
    X(cost)                                                                          \
    X(prm)                                                                           \
    X(step_pairs)                                                                    \
    X(dpo)                                                                           \
    X(kto)                                                                           \
    X(orpo)                                                                          \
    X(cpo)                                                                           \
    X(simpo)                                                                         \
    X(tpo)                                                                           \
    X(tdpo)                                                                          \
    X(distill)                                                                       \
    X(sdft)                                                                          \
    X(sdpo)                                                                          \
    X(ppo)                                                                           \
    X(grpo)                                                                          \
    X(rloo)                                                                          \
    X(online_dpo)                                                                    \
    X(self_reward)                                                                   \
    X(reinforce)                                                                     \
    X(a2po)                                                                          \
    X(xpo)                                                                           \
    X(nash_md)                                                                       \
    X(rft)                                                                           \
    X(train_tokenizer)                                                               \
    X(critique)                                                                      \
    X(generate)                                                                      \
    X(chat)                                                                          \
    X(tokenize)                                                                      \
    X(score)                                                                         \
    X(label)                                                                         \
    X(split)                                                                         \
    X(select)                                                                        \
    X(convert)                                                                       \
    X(merge)                                                                         \
    X(inspect)                                                                       \
    X(eval)                                                                          \
    X(compare)                                                                       \
    X(best_of_n)                                                                     \
    X(report)                                                                        \
    X(lab)                                                                           \
    X(run)                                                                           \
    X(world)                                                                         \
    X(doctor)                                                                        \
    X(completion)

#define X(name) extern const tn_verb tn_verb_##name;
TN_VERBS(X)
#undef X

extern const tn_opt_row tn_reward_head_rows[]; /* reward.c: its own; rlthf trains with all of its options */
extern const tn_verb *const tn_verbs[]; /* NULL-terminated */
const tn_verb *tn_verb_find(const char *name); /* NULL when there is none */
/* May DIR be written anew? Only when it is absent, empty, or holds a model and `overwrite`. */
tn_status tn_check_target(const char *dir, bool overwrite, tn_err *e);
const char *tn_verb_nearest(const char *name); /* NULL when nothing is close */
#endif
