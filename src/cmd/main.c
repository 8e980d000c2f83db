/* tenet: the command line. */
#include "base/log.h"
#include <stdio.h>

int main(int argc, char **argv) {
    (void)argv;
    printf("tenet %s\n", TN_VERSION);
    return argc > 1 ? 2 : 0;
}
