#!/bin/sh
# Builds the soft driver's two libraries into a folder; where that cannot be done, missing.txt there says why, and the tests that need them are skipped.
set -eu
source=$(dirname "$0")
folder=$1
mkdir -p "$folder"
rm -f "$folder"/*
if [ "$(uname -s)" != Linux ]; then
    echo "the soft CUDA driver needs Linux" >"$folder/missing.txt"
    exit 0
fi
for compiler in "${CC:-}" cc gcc clang; do
    if [ -n "$compiler" ] && command -v "$compiler" >/dev/null; then break; fi
    compiler=""
done
if [ -z "$compiler" ]; then
    echo "there is no C compiler (cc, gcc or clang) to build the soft CUDA driver with" >"$folder/missing.txt"
    exit 0
fi
library() { # calls, soname, result of functions that are not implemented
    "$compiler" -shared -fPIC -O1 -fvisibility=hidden -Wall -DCALLS="\"$1\"" -DUNREGISTERED="$3" -Wl,-soname,"$2" -o "$folder/$2" "$source/trampolines.c"
}
library driver.h libcuda.so.1 801 # CUDA_ERROR_NOT_SUPPORTED
library blas.h libcublas.so.13 15 # CUBLAS_STATUS_NOT_SUPPORTED
