/* Between the files of this room: adapter folders as PEFT writes them. */
#ifndef TN_MODEL_ADAPTER_FILE_H
#define TN_MODEL_ADAPTER_FILE_H
#include "base/str.h"
#include "model/model.h"

typedef struct tn_adapter_config {
    tn_lora_spec spec;
    bool score;     /* has a score head, trained whole (modules_to_save, SEQ_CLS) */
    double dropout; /* that it was trained with */
    tn_str base;    /* base_model_name_or_path as it stands; freed by the caller */
} tn_adapter_config;
tn_status tn_adapter_config_read(tn_adapter_config *c, const char *dir, tn_err *e);
/* Of adapter 0 on the trunk that came from m->dir. */
tn_status tn_adapter_config_write(const tn_model *m, const char *dir, tn_err *e);

bool tn_model_from(const tn_model *m, const char *dir); /* its trunk was loaded from that folder */
/* tn_model_load of an adapter folder. */
tn_status tn_adapter_load(tn_model **m, const char *dir, tn_backend *be, const tn_load *how,
                          tn_err *e);
/* adapter_config.json and adapter_model.safetensors of m's adapter 0 and score head. */
tn_status tn_adapter_save(const tn_model *m, const char *dir, const char *dtype, tn_err *e);
#endif
