/* Live alarms of loops on own samples (algo/alarm.h) and what is done about them. Levels are in metrics.jsonl under
 * alarm/; an alarm is a line on the terminal when it begins, and a row of alarms.jsonl:
 * {"step": steps done, "alarm": name, "level": x, "action": what was done}.
 *
 *   warn       nothing else
 *   stop       the run ends with a checkpoint and the policy as it is
 *   raise-kl   the KL coefficient times 1.5, at each sampling that is alarmed (at least 0.05; ppo alone)
 *   roll-back  the run ends with the policy of the newest checkpoint before the greatest level passed 1/2; the start
 *              when there is none */
#ifndef TN_RL_ALARMS_H
#define TN_RL_ALARMS_H
#include "algo/alarm.h"
#include "rl/latents.h"
#include "rl/online.h"

typedef struct tn_alarms_options {
    tn_alarm_opt limits;
    const char *on_alarm;
} tn_alarms_options;
extern const tn_opt_row tn_alarms_rows[]; /* beside tn_alarm_rows, which bind to limits */

typedef struct tn_alarms {
    const tn_alarms_options *o;
    tn_alarm_state state;
    double level[TN_ALARMS];
    bool raised[TN_ALARMS]; /* at the last sampling */
    bool now;               /* an alarm holds */
    tn_model *before;       /* rolled back to; NULL */
    long calm;              /* steps done when the greatest level was last below 1/2 */
    tn_latents latents;
    tn_out *log;
} tn_alarms;

/* has_kl: the loop has a KL coefficient that can be raised; models: how many reward models it has. */
tn_status tn_alarms_check(const tn_alarms_options *o, bool has_kl, int models, const tn_online *on, tn_err *e);
/* After tn_online_begin. judge: the first reward model, from `dir`; NULL: there is none. */
tn_status tn_alarms_open(tn_alarms *a, const tn_alarms_options *o, tn_scorer *judge, const char *dir, const tn_online *on, tn_err *e);
void tn_alarms_close(tn_alarms *a);
/* Looks at the rollouts in hand. score[n]: as the reward models gave it; member: by each of n_member reward models (below 2: no spread);
 * price of a nat of KL, NaN where there is none to speak of. */
typedef struct tn_alarm_view {
    const double *score, *member; /* member[i * stride + j] */
    int n_member, stride;
    double price;
} tn_alarm_view;
tn_status tn_alarms_look(tn_alarms *a, const tn_online *on, const tn_alarm_view *v, tn_metrics *m, tn_err *e);
bool tn_alarms_stop(const tn_alarms *a);    /* stop or roll-back, and an alarm */
bool tn_alarms_raise(const tn_alarms *a, double *kl_coef); /* raised? */
/* A checkpoint that pruning has to leave; 0: none. */
long tn_alarms_keep(const tn_alarms *a, const tn_online *on);
/* The run's end after an alarm: for roll-back the policy is read back; the output folder is then written as usual. */
tn_status tn_alarms_end(tn_alarms *a, tn_online *on, tn_err *e);

json_t *tn_alarms_state(const tn_alarms *a); /* new reference */
tn_status tn_alarms_take(tn_alarms *a, const json_t *state, const char *where, tn_err *e);
#endif
