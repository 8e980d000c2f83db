/* erf: on [0, 1) x + x P(x^2); on [1, 6) ten pieces of width 1/2, erf(c + t) = erf(c) + t P_c(t);
 * 1 beyond. Chebyshev interpolants made by tools/mathx_erf.py, errors below 2^-58.            */
#include "base/mathx.h"
#include <math.h>

enum { ERF_TERMS = 15 };
static const double erf_small[ERF_TERMS] = {
     0x1.06eba8214db69p-3, -0x1.812746b0379e7p-2, 0x1.ce2f21a042be2p-4, -0x1.b82ce31288b47p-6,
     0x1.565bcd0e6a2eep-8, -0x1.c02db40035f1ep-11, 0x1.f9a326f7ac5b1p-14, -0x1.f4d25bf9af03ap-17,
     0x1.b9e6c38e5cf3dp-20, -0x1.5f73c3bf14b91p-23, 0x1.fcbb312b48443p-27, -0x1.517ce02f1265fp-30,
     0x1.9a0fcb5e22c5bp-34, -0x1.b40e7abf9f000p-38, 0x1.3c01fd3a74542p-42};
static const struct { double at, p[ERF_TERMS]; } erf_piece[10] = {
    {0x1.d8865d98abe01p-1, { /* c = 1.25 */
     0x1.e4652fadcb6b2p-3, -0x1.2ebf3dcc9f22fp-2, 0x1.571d01c5c56bep-3, -0x1.93a9a7bb7f98dp-8,
     -0x1.8281ce0b35038p-5, 0x1.5d0003af90ad9p-6, 0x1.db43c972c7eb0p-9, -0x1.75672d12391f6p-8,
     0x1.cc2254e6c5b43p-11, 0x1.a0077eba0fde4p-11, -0x1.53b153a9f1e2ep-12, -0x1.baa412d8caf14p-15,
     0x1.d43a3c0c8982dp-15, -0x1.6b00eb2cb6fdap-19, -0x1.a6335ffe55580p-18}},
    {0x1.f92d077f8d56dp-1, { /* c = 1.75 */
     0x1.b055303221015p-5, -0x1.7a4a8a2bdce13p-4, 0x1.7148c3d57c312p-4, -0x1.8a0da54306125p-5,
     0x1.b22257dd0153ap-8, 0x1.25b378c922971p-7, -0x1.8d10fb6b9fcfap-8, 0x1.7ec1d1fe41acfp-11,
     0x1.d4cf0b1e9b698p-11, -0x1.d041fa2455146p-12, -0x1.6d7699737ccc9p-18, 0x1.200b75b2a369cp-14,
     -0x1.292ef32b13eefp-16, -0x1.39018723e6d46p-18, 0x1.ad30b7d500933p-19}},
    {0x1.ff404760319b4p-1, { /* c = 2.25 */
     0x1.d4143a9dfe965p-8, -0x1.074b60f8df349p-6, 0x1.63ef61e824425p-6, -0x1.38a9832789088p-6,
     0x1.5d3b17bbe0e84p-7, -0x1.7cae0d45d1827p-9, -0x1.5f8313b693564p-11, 0x1.0602e34e91dccp-10,
     -0x1.8352cd44d5e03p-12, -0x1.80c2a51bfb5f0p-17, 0x1.113243abbd515p-14, -0x1.7c9628114e880p-16,
     -0x1.665eeb75454d0p-20, 0x1.c604970ebb8a5p-19, -0x1.bd485bc90d8ffp-21}},
    {0x1.fff2cfb0453d9p-1, { /* c = 2.75 */
     0x1.3360ccd23db3ap-11, -0x1.a6a519a114d6ep-10, 0x1.69cf466ccdf61p-9, -0x1.ab0c273ac282fp-9,
     0x1.6935960664e12p-9, -0x1.b2755bfd49744p-10, 0x1.52b6263ef1570p-11, -0x1.7557732aef7d8p-14,
     -0x1.2abb3c73d4612p-14, 0x1.cd5961467fceep-15, -0x1.09d0c676b8423p-16, -0x1.2027571ce8a4bp-20,
     0x1.68d13bee085f9p-19, -0x1.ddb4fc18278c9p-21, -0x1.7133badf192e3p-28}},
    {0x1.ffff6f9f67e55p-1, { /* c = 3.25 */
     0x1.e9b5e8d00ce77p-16, -0x1.8de3cd290a7c7p-14, 0x1.9aa489e3cad21p-13, -0x1.2c7d5ef053abap-12,
     0x1.490a4d230ea4bp-12, -0x1.145464ea53367p-12, 0x1.647f721c1caf3p-13, -0x1.567479968d821p-14,
     0x1.b2c320042cdb4p-16, -0x1.389435464ebf4p-19, -0x1.8070793b524a7p-19, 0x1.ff5b0dda40037p-20,
     -0x1.265e2758aae91p-21, -0x1.9474cda205f5cp-29, 0x1.2035ab3c66578p-24}},
    {0x1.fffffc2f171e3p-1, { /* c = 3.75 */
     0x1.d9371e2ff7c35p-21, -0x1.bba3ac4cf8465p-19, 0x1.0b6a7b0f1b588p-17, -0x1.d06f586094603p-17,
     0x1.3436bc9fc44f7p-16, -0x1.4357b55446d3bp-16, 0x1.110de49c205bfp-16, -0x1.7566bf05da612p-17,
     0x1.99f5c532bb4acp-18, -0x1.5d68f52907684p-19, 0x1.a043307b5f034p-21, -0x1.835991bf3a5d4p-24,
     -0x1.eca5f5569cd40p-25, 0x1.7133b91983267p-25, -0x1.e13f0db779cf9p-27}},
    {0x1.fffffff01a8b6p-1, { /* c = 4.25 */
     0x1.155a09065d4f7p-26, -0x1.26afa996c31b1p-24, 0x1.95ea6fdffb390p-23, -0x1.96ba7366c5762p-22,
     0x1.3b468019be493p-21, -0x1.8868e1d0a7cbcp-21, 0x1.916e922f9294cp-21, -0x1.566f0257044a5p-21,
     0x1.eab4e76e4266cp-22, -0x1.275887d66f6cap-22, 0x1.27d95f4973dbap-23, -0x1.e05aa8744cbb7p-25,
     0x1.2652ee55284c9p-26, -0x1.8d5063f9bbfebp-29, -0x1.fbe65c70e963bp-32}},
    {0x1.ffffffffd759dp-1, { /* c = 4.75 */
     0x1.8a61745ec7d1dp-33, -0x1.d453ba308dc61p-31, 0x1.6a8aeba4765d7p-29, -0x1.9b017abbcce5cp-28,
     0x1.6b43c95301477p-27, -0x1.042f2a6c672b5p-26, 0x1.35dc8319c7e48p-26, -0x1.3834e30c8ba30p-26,
     0x1.0d4cf4658182bp-26, -0x1.90aaa27e76addp-27, 0x1.01e4cc7a0fbafp-27, -0x1.1ed38869b1ea0p-28,
     0x1.11d90f0e97db1p-29, -0x1.c08288e6abc1bp-31, 0x1.2042733d1140dp-32}},
    {0x1.ffffffffffc05p-1, { /* c = 5.25 */
     0x1.5422ef5d8949dp-40, -0x1.be6dda2acc178p-38, 0x1.7f8a0f3e24269p-36, -0x1.e4cb4ae823368p-35,
     0x1.e044b3eab55b8p-34, -0x1.83ea4c05d949fp-33, 0x1.065958bfdf4aep-32, -0x1.2ec53fc860171p-32,
     0x1.2e385ab0c2df5p-32, -0x1.07839e41fb1eep-32, 0x1.94273958ffeedp-33, -0x1.1168f63ca58b4p-33,
     0x1.4803b19e9e49fp-34, -0x1.6ba6bda3b5f6dp-35, 0x1.4f64807e4b482p-36}},
    {0x1.ffffffffffffcp-1, { /* c = 5.75 */
     0x1.63daf8b4b1e0cp-48, -0x1.ff8ac58400682p-46, 0x1.e2d06d6fdb699p-44, -0x1.505d952c32bedp-42,
     0x1.70b701141f92ap-41, -0x1.4aed69c0755d9p-40, 0x1.f3c5935702e1ap-40, -0x1.43c0e76ad620ep-39,
     0x1.6d18ce9b11972p-39, -0x1.6a577387fbb15p-39, 0x1.3f0c1d84c6a01p-39, -0x1.f42ee04dbf586p-40,
     0x1.612076c77b0b3p-40, -0x1.e0bebdb52146cp-41, 0x1.0f323429ffe37p-41}},
};

static double horner(const double *p, double t) {
    double y = p[ERF_TERMS - 1];
    for (int i = ERF_TERMS - 2; i >= 0; i--) y = y * t + p[i];
    return y;
}

double tn_erf(double x) {
    double a = fabs(x), y;
    if (x != x) return x;
    if (a < 1.0) return x + x * horner(erf_small, x * x);
    if (a >= 6.0) {
        y = 1.0;
    } else {
        int i = (int)((a - 1.0) * 2.0);
        double t = a - (1.25 + 0.5 * i);
        y = erf_piece[i].at + t * horner(erf_piece[i].p, t);
    }
    return x < 0 ? -y : y;
}
