/* A library whose exports forward to callbacks that a test registers by name. Built twice: with CALLS="driver.h" it is a libcuda.so.1, with
   CALLS="blas.h" a libcublas.so.13. A function that nobody registered prints its name and returns UNREGISTERED. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef void *H;                /* handles and host pointers */
typedef unsigned long long DP;  /* device pointers */
typedef size_t Z;
typedef unsigned U;
typedef long long L;

#define CALL(name, parameters, arguments)                                  \
    static int(*name##_callback) parameters;                               \
    __attribute__((visibility("default"))) int name parameters {           \
        if (name##_callback) return name##_callback arguments;             \
        fprintf(stderr, "soft driver: %s is not implemented\n", #name);    \
        return UNREGISTERED;                                               \
    }
#include CALLS
#undef CALL

/* Returns 1 if there is an export of that name. */
__attribute__((visibility("default"))) int soft_register(const char *name, void *callback) {
#define CALL(function, parameters, arguments)                \
    if (strcmp(name, #function) == 0) {                      \
        *(void **)&function##_callback = callback;           \
        return 1;                                            \
    }
#include CALLS
#undef CALL
    return 0;
}
