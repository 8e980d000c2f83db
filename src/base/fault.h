/* The one question that every wrapper of a system call or of malloc asks first: shall this call
 * fail? Armed by tn_fault_arm or by the environment (base/os.h). */
#ifndef TN_BASE_FAULT_H
#define TN_BASE_FAULT_H
#include <stdatomic.h>

extern atomic_long tn_fault_count; /* calls left until the failing one; 0 = off */
int tn_fault_take(void);           /* slow path: counts down, answers an errno number or 0 */
static inline int tn_fault(void) {
    return atomic_load_explicit(&tn_fault_count, memory_order_relaxed) > 0 ? tn_fault_take() : 0;
}
#endif
