"""Prints the coefficient tables of src/base/mathx_erf.c (needs mpmath)."""
import mpmath as mp

mp.mp.prec = 300


def fit(fn, a, b, n):
    """Monomial coefficients of the Chebyshev interpolant with n terms, ascending, and its error."""
    p, err = mp.chebyfit(fn, [a, b], n, error=True)
    return p[::-1], err


def show(cs):
    return ", ".join(float(c).hex() for c in cs)


def small(z):
    x = mp.sqrt(z)
    return mp.erf(x) / x - 1 if z > mp.mpf(10) ** -40 else 2 / mp.sqrt(mp.pi) - 1 - z * 2 / mp.sqrt(mp.pi) / 3


cs, err = fit(small, 0, 1, 15)
print("/* error", mp.nstr(err, 3), "*/\nSMALL:", show(cs))
for i in range(10):
    c = mp.mpf(1.25) + mp.mpf(i) / 2
    cs, err = fit(lambda t: (mp.erf(c + t) - mp.erf(c)) / t if abs(t) > mp.mpf(10) ** -40
                  else mp.diff(mp.erf, c), -0.25, 0.25, 15)
    print("    {%s, {%s}}, /* %s, error %s */" % (float(mp.erf(c)).hex(), show(cs), mp.nstr(c, 4), mp.nstr(err, 3)))
