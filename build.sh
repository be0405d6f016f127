#!/usr/bin/env bash
# Verbs: kernels [--nvcc] (CUDA to PTX), build, build managedcuda (the optional second CUDA binding), test, bench [filter] [--quick] (against libtorch),
# fuzz [count] [seed] (random programs, compiler against interpreter; damaged weights, configurations and texts),
# mutate [kernel] [most] (altered kernels, which their tests must notice), faults (every driver call of a run fails once),
# crash [count] [seed] (runs are killed and resumed), soak [steps] (a long run's memory), counters (what kernels ask of memory, to kernels/README.md),
# gpu-pack [linux-x64|linux-arm64] (an archive that tests and measures a machine with an NVIDIA driver and cuBLAS).
# Only `kernels` needs more than the .NET SDK.
set -euo pipefail
cd "$(dirname "$0")"

# The one compiler whose PTX is committed; another version would change every byte.
kernels() {
    local clang=${CLANG:-clang-19} kernel resources
    if ! command -v "$clang" >/dev/null; then
        echo "error: $clang is missing; install it (Debian: apt-get install clang-19) or name it in CLANG" >&2
        exit 1
    fi
    resources=$("$clang" -print-resource-dir)
    mkdir -p kernels/ptx
    rm -f kernels/ptx/*.ptx
    for kernel in kernels/*.cu; do
        "$clang" -x cuda --cuda-device-only --cuda-gpu-arch=sm_75 -nocudainc -nocudalib --cuda-feature=+ptx63 -S -O3 -std=c++17 \
            -ffp-contract=off -gline-directives-only -fdebug-compilation-dir=. -fdebug-prefix-map="$resources=clang" \
            -Wall -Wextra -Werror -o "kernels/ptx/$(basename "$kernel" .cu).sm_75.ptx" "$kernel"
    done
}

# nvcc compiles as a check only; nothing it writes is kept.
kernels_with_nvcc() {
    local nvcc=${NVCC:-nvcc} kernel
    if ! command -v "$nvcc" >/dev/null; then
        echo "error: $nvcc is missing; install the CUDA toolkit or name it in NVCC" >&2
        exit 1
    fi
    for kernel in kernels/*.cu; do
        "$nvcc" -arch=sm_75 -std=c++17 --fmad=false -ptx -o /dev/null "$kernel"
    done
}

# Has folders and lock files of its own, so that no other build is touched.
gpu_pack() {
    local rid=$1 name=clipcuda-gpu-$1 most=60000000 bytes
    local folder=artifacts/$name archive=artifacts/$name.tar.gz
    case "$rid" in
        linux-x64 | linux-arm64) ;;
        *)
            echo "error: there is no GPU pack for '$rid'; there are linux-x64 and linux-arm64" >&2
            exit 2
            ;;
    esac
    rm -rf "$folder" "$archive"
    mkdir -p "$folder"
    dotnet publish tests/ClipCuda.Tests -c Release -r "$rid" --self-contained --artifacts-path artifacts/build -o "$folder/bin" \
        -p:NuGetLockFilePath=obj/gpu-pack.lock.json -p:RestoreLockedMode=false -p:DebugType=none -p:PublishDocumentationFiles=false
    cp -R data LICENSE THIRD-PARTY-NOTICES.md tests/ClipCuda.Tests/GpuPack/run "$folder"
    tar -C artifacts -czf "$archive.tmp" "$name"
    bytes=$(wc -c <"$archive.tmp")
    if [ "$bytes" -gt "$most" ]; then
        echo "error: $archive.tmp has $bytes bytes, more than $most" >&2
        exit 1
    fi
    mv "$archive.tmp" "$archive"
    rm -rf "$folder"
    echo "$archive: $bytes bytes; unpack it on a machine with an NVIDIA driver and cuBLAS and start ./run"
}

case "${1:-} ${2:-}" in
    "kernels ") kernels ;;
    "kernels --nvcc") kernels_with_nvcc ;;
    "build ") dotnet build ClipCuda.sln ;;
    "build managedcuda")
        # A plug-in that ClipCuda.sln does not know; it is copied beside the program and the tests.
        dotnet build ClipCuda.sln -c Release
        dotnet build src/ClipCuda.Device.ManagedCuda -c Release "${@:3}"
        ;;
    "test ") dotnet test ;;
    "fuzz "*) CLIPCUDA_FUZZ=${2:-10000} CLIPCUDA_FUZZ_SEED=${3:-1} dotnet test -c Release --filter FullyQualifiedName~FuzzTests ;;
    "mutate "*)
        CLIPCUDA_MUTATE=${2:-all} CLIPCUDA_MUTATE_MOST=${3:-} dotnet test tests/ClipCuda.Tests -c Release --filter FullyQualifiedName~All_mutants --logger "console;verbosity=normal"
        ;;
    "faults ") CLIPCUDA_FAULTS=all dotnet test -c Release --filter FullyQualifiedName~FaultTests --logger "console;verbosity=detailed" ;;
    "crash "*) CLIPCUDA_CRASH=${2:-200} CLIPCUDA_CRASH_SEED=${3:-1} dotnet test tests/ClipCuda.Tests -c Release --filter FullyQualifiedName~CrashTests --logger "console;verbosity=detailed" ;;
    "soak "*) CLIPCUDA_SOAK=${2:-10000} dotnet test tests/ClipCuda.Tests -c Release --filter FullyQualifiedName~SoakTests --logger "console;verbosity=detailed" ;;
    "counters ") CLIPCUDA_COUNTERS=write dotnet test tests/ClipCuda.Tests -c Release --filter FullyQualifiedName~KernelTableTests ;;
    "gpu-pack "*) gpu_pack "${2:-linux-x64}" ;;
    "bench "*) dotnet run -c Release --project tests/ClipCuda.Benchmarks -- "${@:2}" ;;
    *)
        echo "usage: ./build.sh kernels [--nvcc] | build [managedcuda [-p:ManagedCudaPath=FOLDER]] | test | bench [filter] [--quick] [--output FOLDER] | fuzz [count] [seed] | mutate [kernel] [most] | faults | crash [count] [seed] | soak [steps] | counters | gpu-pack [linux-x64|linux-arm64]" >&2
        exit 2
        ;;
esac
