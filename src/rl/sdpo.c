#include "rl/sdpo.h"
#include "data/teacher_prompt.h"
#include "train/moving_ref.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_sdpo_options, f)
const tn_opt_row tn_sdpo_teacher_rows[] = {
    {"use-successful-as-teacher", TN_OPT_BOOL, AT(use_successful), "true", NULL, 0, 0, NULL, NULL,
     "The teacher of an answer is shown the first other answer to its prompt that succeeded."},
    {"success-reward-threshold", TN_OPT_REAL, AT(threshold), "1", NULL, -1e9, 1e9, NULL, "X", "Least reward of a success."},
    {"dont-reprompt-on-self-success", TN_OPT_BOOL, AT(not_own), "true", NULL, 0, 0, NULL, NULL,
     "An answer is not shown to its own teacher."},
    {"include-environment-feedback", TN_OPT_BOOL, AT(use_feedback), "false", NULL, 0, 0, NULL, NULL,
     "Show the teacher the row's \"privileged_context\", a text, as feedback."},
    {"environment-feedback-only-without-solution", TN_OPT_BOOL, AT(feedback_only), "false", NULL, 0, 0, NULL, NULL,
     "Only where there is no success to be shown."},
    {"reprompt-template", TN_OPT_STRING, AT(reprompt), "{prompt}{solution}{feedback}\n\nCorrectly solve the original question.\n", NULL, 0,
     0, NULL, "TEXT", "What the teacher reads in place of the prompt (of a conversation: of its last message)."},
    {"solution-template", TN_OPT_STRING, AT(solution), "\nCorrect solution:\n\n{successful_previous_attempt}\n\n", NULL, 0, 0, NULL,
     "TEXT", "What {solution} is where an answer is shown; nothing elsewhere."},
    {"feedback-template", TN_OPT_STRING, AT(feedback),
     "\nThe following is feedback from your unsuccessful earlier attempt:\n\n{feedback_raw}\n\n", NULL, 0, 0, NULL, "TEXT",
     "What {feedback} is where feedback is shown."},
    {"remove-thinking-from-demonstration", TN_OPT_BOOL, AT(remove_thinking), "false", NULL, 0, 0, NULL, NULL,
     "Leave <think>...</think> out of answers that are shown."},
    {"max-reprompt-len", TN_OPT_INT, AT(max_reprompt), "10240", NULL, 1, 1 << 20, NULL, "N",
     "Most tokens of what the teacher reads, its last ones."},
    {"teacher-model-kind", TN_OPT_CHOICE, AT(kind), "ema", "base|live|ema", 0, 0, NULL, NULL,
     "The teacher's weights: base, the model as it was at the start; live, as it is; ema, a moving average of it."},
    {"teacher-update-rate", TN_OPT_REAL, AT(rate), "0.05", NULL, 0, 1, NULL, "X", "Share of the model in the moved average (ema)."},
    {"teacher-sync-steps", TN_OPT_INT, AT(sync_steps), "1", NULL, 1, 0, NULL, "N", "Move it after every so many steps (ema)."},
    TN_OPT_LAST};

static tn_status has_mark(const char *option, const char *template, const char *mark, tn_err *e) {
    if (strstr(template, mark)) return TN_OK;
    return tn_fail(e, TN_ARG, "--%s '%s' must have %s", option, template, mark);
}

tn_status tn_sdpo_options_check(const tn_sdpo_options *o, tn_err *e) {
    if (!o->use_successful && !o->use_feedback)
        return tn_fail(e, TN_ARG, "a teacher would be shown nothing; --use-successful-as-teacher or --include-environment-feedback");
    TN_TRY(has_mark("reprompt-template", o->reprompt, "{prompt}", e));
    if (o->use_successful) TN_TRY(has_mark("reprompt-template", o->reprompt, "{solution}", e));
    if (o->use_feedback) TN_TRY(has_mark("reprompt-template", o->reprompt, "{feedback}", e));
    TN_TRY(has_mark("solution-template", o->solution, "{successful_previous_attempt}", e));
    return has_mark("feedback-template", o->feedback, "{feedback_raw}", e);
}

/* ---- texts ---- */

static const json_t *prompt_of(const tn_example *x) {
    const json_t *p = json_object_get(x->meta, "prompt");
    return p ? p : json_object_get(x->meta, "messages");
}

/* The row's feedback; NULL: it has none that says something. */
static const char *feedback_of(const tn_sdpo_options *o, const tn_example *x) {
    const char *s = o->use_feedback ? json_string_value(json_object_get(x->meta, "privileged_context")) : NULL;
    return s && s[strspn(s, " \t\r\n")] ? s : NULL;
}

/* Without what lies between <think> and </think>, and without white space around the rest. */
static void without_thinking(tn_str *s) {
    char *from;
    while (s->s && (from = strstr(s->s, "<think>"))) {
        char *to = strstr(from, "</think>");
        if (!to) break;
        to += strlen("</think>");
        memmove(from, to, s->len - (size_t)(to - s->s) + 1);
        s->len -= (size_t)(to - from);
    }
    size_t begin = s->len ? strspn(s->s, " \t\r\n") : 0;
    while (s->len > begin && strchr(" \t\r\n", s->s[s->len - 1])) s->len--;
    if (s->len) memmove(s->s, s->s + begin, s->len - begin), s->len -= begin, s->s[s->len] = 0;
}

/* What the teacher reads, as ids behind s->ids. shown, feedback: NULL: none. */
static tn_status reprompt(tn_sdpo *s, const tn_sdpo_options *o, const tn_tokenizer *tok, const json_t *prompt, const char *shown,
                          const char *feedback, int most, tn_err *e) {
    json_t *all = NULL;
    size_t from = s->ids.n;
    tn_str_clear(&s->part);
    tn_str_clear(&s->all);
    if (shown) tn_fill_template(o->solution, &(tn_fill){"{successful_previous_attempt}", shown}, 1, &s->part);
    if (feedback) tn_fill_template(o->feedback, &(tn_fill){"{feedback_raw}", feedback}, 1, &s->all);
    if (s->part.oom || s->all.oom) return tn_fail(e, TN_NOMEM, "out of memory for a teacher's prompt");
    const tn_fill more[2] = {{"{solution}", s->part.s ? s->part.s : ""}, {"{feedback}", s->all.s ? s->all.s : ""}};
    TN_TRY(tn_fill_prompt(o->reprompt, prompt, more, 2, &all, "sdpo", e));
    tn_status st = tn_encode_prompt(tok, all, &s->ids, "sdpo", e);
    json_decref(all);
    TN_TRY(st);
    size_t n = s->ids.n - from;
    if (n > (size_t)most) {
        memmove(s->ids.v + from, s->ids.v + s->ids.n - most, (size_t)most * sizeof *s->ids.v);
        s->ids.n = from + (size_t)most;
    }
    return TN_OK;
}

tn_status tn_sdpo_measure(const tn_sdpo_options *o, const tn_online *on, int max_new, int *most, tn_err *e) {
    tn_sdpo s = {.text = TN_STR_INIT, .part = TN_STR_INIT, .all = TN_STR_INIT};
    tn_status st = TN_OK;
    *most = on->longest;
    if (!on->tok) return tn_fail(e, TN_STATE, "%s has no tokenizer.json, and teachers read text", on->o.model);
    for (size_t i = 0; i < on->prompts->n && st == TN_OK; i++) {
        const tn_example *x = &on->prompts->ex[i];
        s.ids.n = 0;
        if (!prompt_of(x))
            st = tn_fail(e, TN_FORMAT, "%s:%d: sdpo writes the prompt anew and needs it as text or messages, not as token ids",
                         on->prompts->path[x->file], x->line);
        else
            st = reprompt(&s, o, on->tok, prompt_of(x), "", feedback_of(o, x), INT32_MAX, e);
        if ((int)s.ids.n + max_new > *most) *most = (int)s.ids.n + max_new;
    }
    if (*most > o->max_reprompt) *most = (int)o->max_reprompt;
    tn_ids_free(&s.ids);
    tn_str_free(&s.part);
    tn_str_free(&s.all);
    return st;
}

/* ---- a run's ---- */

size_t tn_sdpo_bytes(int n, int most) {
    return (size_t)n * (sizeof(int) + sizeof(size_t) + 1 + sizeof(tn_example) + (size_t)most * sizeof(int32_t));
}

tn_status tn_sdpo_open(tn_sdpo *s, const tn_sdpo_options *o, const tn_online *on, int most, int n_slice, tn_err *e) {
    size_t n = (size_t)on->shape.n_prompt * (size_t)on->shape.n_sample;
    *s = (tn_sdpo){.o = o, .most = most, .n_slice = n_slice, .text = TN_STR_INIT, .part = TN_STR_INIT, .all = TN_STR_INIT};
    if (!o) return TN_OK;
    s->demo = tn_calloc(n, sizeof *s->demo);
    s->begin = tn_calloc(n + 1, sizeof *s->begin);
    s->taught = tn_calloc(n, 1);
    s->side = tn_calloc((size_t)n_slice, sizeof *s->side);
    bool ok = s->demo && s->begin && s->taught && s->side && TN_GROW(s->ids.v, s->ids.cap, n * (size_t)most);
    for (int k = 0; k < n_slice && ok; k++) ok = (s->side[k] = tn_calloc(n / (size_t)n_slice, sizeof **s->side));
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory for teachers' prompts");
}

void tn_sdpo_close(tn_sdpo *s) {
    for (int k = 0; k < s->n_slice && s->side; k++) tn_free(s->side[k]);
    tn_free(s->side);
    tn_free(s->demo);
    tn_free(s->begin);
    tn_free(s->taught);
    tn_ids_free(&s->ids);
    tn_str_free(&s->text);
    tn_str_free(&s->part);
    tn_str_free(&s->all);
    *s = (tn_sdpo){0};
}

/* The first success of the group that may be shown to response i; -1: none. */
static int demonstration(const tn_sdpo_options *o, const tn_rollouts *r, const double *reward, int i) {
    int from = i / r->n_sample * r->n_sample;
    for (int j = from; j < from + r->n_sample && o->use_successful; j++)
        if (reward[j] >= o->threshold && !(o->not_own && j == i)) return j;
    return -1;
}

/* What response i's teacher is told; NULL: nothing. */
static const char *told(const tn_sdpo *s, const tn_rollouts *r, int i) {
    return s->o->feedback_only && s->demo[i] >= 0 ? NULL : feedback_of(s->o, r->prompt[r->group[i]]);
}

void tn_sdpo_choose(tn_sdpo *s, const tn_rollouts *r, const double *reward, tn_metrics *m) {
    double groups = 0, shown = 0, heard = 0, available = 0, taught = 0;
    for (int i = 0; i < r->n; i++) {
        s->demo[i] = demonstration(s->o, r, reward, i);
        bool sees = s->demo[i] >= 0, hears = told(s, r, i) != NULL;
        shown += sees, heard += hears, taught += sees || hears;
        available += feedback_of(s->o, r->prompt[r->group[i]]) != NULL;
    }
    for (int g = 0; g < r->n_prompt; g++) {
        bool any = false;
        for (int j = g * r->n_sample; j < (g + 1) * r->n_sample; j++) any |= reward[j] >= s->o->threshold;
        groups += any;
    }
    tn_metrics_mean(m, "self_distillation/success_group_fraction", groups, r->n_prompt);
    tn_metrics_mean(m, "self_distillation/success_sample_fraction", shown, r->n);
    tn_metrics_mean(m, "self_distillation/feedback_available_fraction", available, r->n);
    tn_metrics_mean(m, "self_distillation/feedback_used_fraction", heard, r->n);
    tn_metrics_mean(m, "self_distillation/reprompt_sample_fraction", taught, r->n);
}

void tn_sdpo_mask(const tn_sdpo *s, tn_rollouts *r, const tn_sdpo_opt *o) {
    for (int i = 0; i < r->n && o->weight == 1; i++)
        for (int t = r->off[i]; t < r->off[i + 1]; t++)
            r->advantage[t] = s->demo[i] >= 0 || told(s, r, i) ? 0 : NAN;
}

json_t *tn_sdpo_state(const tn_sdpo *s, const tn_rollouts *r) {
    json_t *a = json_array();
    for (int i = 0; i < r->n; i++) json_array_append_new(a, json_integer(s->demo[i]));
    return a;
}

tn_status tn_sdpo_take(tn_sdpo *s, const tn_rollouts *r, const json_t *state, const char *where, tn_err *e) {
    bool ok = json_array_size(state) == (size_t)r->n;
    for (int i = 0; i < r->n && ok; i++) {
        s->demo[i] = (int)json_integer_value(json_array_get(state, (size_t)i));
        ok = s->demo[i] >= -1 && s->demo[i] < r->n;
    }
    return ok ? TN_OK : tn_fail(e, TN_FORMAT, "%s: which answers teachers are shown is damaged", where);
}

/* Prompt of response i's teacher behind s->ids; without one, the policy's own. */
static tn_status write_prompt(tn_sdpo *s, const tn_online *on, int i, tn_err *e) {
    const tn_rollouts *r = &on->roll;
    const tn_example *x = r->prompt[r->group[i]];
    const char *feedback = told(s, r, i);
    int demo = s->demo[i];
    s->taught[i] = demo >= 0 || feedback;
    if (!s->taught[i]) {
        if (!TN_GROW(s->ids.v, s->ids.cap, s->ids.n + (size_t)x->n_prompt)) return tn_fail(e, TN_NOMEM, "out of memory");
        memcpy(s->ids.v + s->ids.n, x->prompt, (size_t)x->n_prompt * sizeof *s->ids.v);
        s->ids.n += (size_t)x->n_prompt;
        return TN_OK;
    }
    tn_str_clear(&s->text);
    if (demo >= 0) {
        TN_TRY(tn_decode(on->tok, r->response[demo].ids, (size_t)r->response[demo].n, true, &s->text, e));
        if (s->o->remove_thinking) without_thinking(&s->text);
    }
    return reprompt(s, s->o, on->tok, prompt_of(x), demo >= 0 ? s->text.s ? s->text.s : "" : NULL, feedback, s->most, e);
}

tn_status tn_sdpo_teach(tn_sdpo *s, const tn_online *on, tn_rollouts *part, tn_err *e) {
    s->ids.n = 0;
    for (int i = 0; i < on->roll.n; i++) {
        s->begin[i] = s->ids.n;
        TN_TRY(write_prompt(s, on, i, e));
    }
    s->begin[on->roll.n] = s->ids.n;
    for (int k = 0; k < s->n_slice; k++) {
        tn_rollouts *p = &part[k];
        if (p->n_ex != p->n) return tn_fail(e, TN_BUG, "%d responses in %d examples: teachers read prompts of their own", p->n, p->n_ex);
        for (int j = 0; j < p->n; j++) {
            int i = p->from[j];
            tn_example *x = &p->ex[j];
            s->side[k][j] = (tn_example){.prompt = s->ids.v + s->begin[i], .n_prompt = (int)(s->begin[i + 1] - s->begin[i]),
                                         .n_response = 1, .response = x->response};
            for (int t = p->off[j]; t < p->off[j + 1]; t++) p->ret[t] = s->taught[i];
            x->teacher = &s->side[k][j];
            x->ref = NULL; /* what the teacher says changes with it */
            x->ref_known = false;
        }
    }
    return TN_OK;
}
