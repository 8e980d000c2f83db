/* Arithmetic in a text, checked: who writes "48 / 2 = 26" has made a mistake there, whatever the problem was. */
#ifndef TN_RL_EQUATIONS_H
#define TN_RL_EQUATIONS_H

/* Equations EXPRESSION = NUMBER in a text, as in "48/2 = <<48/2=24>>24": *n of them, *n_false of which do not hold.
 * EXPRESSION is what stands right before the = of numbers, ( ), + - * / x × ÷ and $, with an operator at least; what has
 * other words or signs in it (units, %, variables) is none, nor are mixed numbers (1 1/2). A number with decimals may be
 * rounded to them. Of GSM8K's 24,089 equations 40 are false by this, most of them really. */
void tn_equations_check(const char *s, int *n, int *n_false);
#endif
