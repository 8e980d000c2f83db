/* The end of a reward or cost model's training: what its scores are like, for the output's tenet.json. */
#ifndef TN_TRAIN_SCORE_NORM_H
#define TN_TRAIN_SCORE_NORM_H
#include "train/trainer.h"

/* tn_task.finish. Mean and standard deviation of the raw score on what the model will be asked about, the evaluation
 * rows, or the training rows (512 of them): "score": {"mean", "sd"}; the tensors keep the raw score. The same rows'
 * labels give "calibration" (calibrate.h). */
tn_status tn_reward_finish(tn_trainee *t, tn_dataset *train, tn_dataset *eval, json_t *record, tn_err *e);
/* The same of costs, which are only scaled, by their root mean square: 0 stays the border of safety. "score" says
 * {"kind": "cost"}. */
tn_status tn_cost_finish(tn_trainee *t, tn_dataset *train, tn_dataset *eval, json_t *record, tn_err *e);
#endif
