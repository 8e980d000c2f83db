/* The AMX kernel over a model of the tile instructions (softmodel.h). */
#define TN_SOFT_AMX
#include "gemm_amx.c"
