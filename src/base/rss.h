/* Resident memory as the kernel counts it, less file-mapped pages. Linux keeps a high-water
 * mark only of the sum, so the maximum is taken over samples: at every release of a large
 * buffer, and whenever tn_peak_memory (base/os.h) is asked. */
#ifndef TN_BASE_RSS_H
#define TN_BASE_RSS_H
void tn_rss_sample(void);
#endif
