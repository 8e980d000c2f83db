/* Resident memory as the kernel counts it, less file-mapped pages but for parked ones (base/park.h). Linux keeps a
 * high-water mark only of the sum, so the maximum is taken over samples: at every release of a large
 * buffer, and whenever tn_peak_memory (base/os.h) is asked. */
#ifndef TN_BASE_RSS_H
#define TN_BASE_RSS_H
#include <stddef.h>
void tn_rss_sample(void);
/* A sample with so many bytes of file-mapped pages that count. */
void tn_rss_sample_with(size_t mapped);
size_t tn_rss_mapped(void); /* file-mapped pages of this process, bytes */
#endif
