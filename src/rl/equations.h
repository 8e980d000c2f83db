/* Arithmetic in the steps of a solution, checked: who says "48 / 2 = 26" has made a mistake there, whatever the problem was.
 * `--localise equations` needs no process reward model, and finds slips, not wrong ideas. */
#ifndef TN_RL_EQUATIONS_H
#define TN_RL_EQUATIONS_H
#include "rl/step_judge.h"

/* Equations EXPRESSION = NUMBER in a text, as in "48/2 = <<48/2=24>>24": *n of them, *n_false of which do not hold.
 * EXPRESSION is what stands right before the = of numbers, ( ), + - * / x × ÷ and $, with an operator at least; what has
 * other words or signs in it (units, %, variables) is none. A number with decimals may be rounded to them. */
void tn_equations_check(const char *s, int *n, int *n_false);

/* A step is wrong when an equation in it is false; a solution is good when it has ended and has equations, and all hold. */
extern const tn_step_oracle tn_equations_oracle;
#endif
