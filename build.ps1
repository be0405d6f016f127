# Verbs: kernels [--nvcc] (CUDA to PTX), build, build managedcuda (the optional second CUDA binding), test, bench [filter] [--quick] (against libtorch), fuzz [count] [seed]
# (random programs, compiler against interpreter; damaged weights, configurations and texts), mutate [kernel] [most] (altered kernels, which their tests must
# notice), faults (every driver call of a run fails once), counters (what kernels ask of memory, to kernels/README.md). Only `kernels` needs more than the .NET SDK. The same as build.sh.
$ErrorActionPreference = 'Stop'
Set-Location $PSScriptRoot

function Find-Compiler($name, $advice) {
    if (-not (Get-Command $name -ErrorAction SilentlyContinue)) {
        [Console]::Error.WriteLine("error: $name is missing; $advice")
        exit 1
    }
    $name
}

# The one compiler whose PTX is committed; another version would change every byte.
function Build-Kernels {
    $clang = Find-Compiler ($env:CLANG ?? 'clang-19') 'install LLVM 19 or name its clang in CLANG'
    $resources = & $clang -print-resource-dir
    New-Item -ItemType Directory -Force kernels/ptx | Out-Null
    Remove-Item kernels/ptx/*.ptx
    foreach ($kernel in Get-ChildItem kernels/*.cu) {
        & $clang -x cuda --cuda-device-only --cuda-gpu-arch=sm_75 -nocudainc -nocudalib --cuda-feature=+ptx63 -S -O3 -std=c++17 `
            -ffp-contract=off -gline-directives-only '-fdebug-compilation-dir=.' "-fdebug-prefix-map=$resources=clang" `
            -Wall -Wextra -Werror -o "kernels/ptx/$($kernel.BaseName).sm_75.ptx" "kernels/$($kernel.Name)"
        if ($LASTEXITCODE -ne 0) { exit 1 }
    }
}

# nvcc compiles as a check only; nothing it writes is kept.
function Test-KernelsWithNvcc {
    $nvcc = Find-Compiler ($env:NVCC ?? 'nvcc') 'install the CUDA toolkit or name it in NVCC'
    foreach ($kernel in Get-ChildItem kernels/*.cu) {
        & $nvcc -arch=sm_75 -std=c++17 --fmad=false -ptx -o ([IO.Path]::GetTempFileName()) "kernels/$($kernel.Name)"
        if ($LASTEXITCODE -ne 0) { exit 1 }
    }
}

# Before the switch, because what follows the verb is the benchmark's own.
if ($args.Count -gt 0 -and $args[0] -ceq 'bench') {
    dotnet run -c Release --project tests/ClipCuda.Benchmarks -- @($args | Select-Object -Skip 1)
    exit $LASTEXITCODE
}

if ($args.Count -eq 1 -and $args[0] -ceq 'faults') {
    $env:CLIPCUDA_FAULTS = 'all'
    & dotnet test -c Release --filter FullyQualifiedName~FaultTests --logger 'console;verbosity=detailed'
    exit $LASTEXITCODE
}
if ($args.Count -eq 1 -and $args[0] -ceq 'counters') {
    $env:CLIPCUDA_COUNTERS = 'write'
    & dotnet test tests/ClipCuda.Tests -c Release --filter FullyQualifiedName~KernelTableTests
    exit $LASTEXITCODE
}
if ($args.Count -gt 0 -and $args[0] -ceq 'fuzz') {
    $env:CLIPCUDA_FUZZ = $args.Count -gt 1 ? $args[1] : 10000
    $env:CLIPCUDA_FUZZ_SEED = $args.Count -gt 2 ? $args[2] : 1
    dotnet test -c Release --filter FullyQualifiedName~FuzzTests
    exit $LASTEXITCODE
}

if ($args.Count -gt 0 -and $args[0] -ceq 'mutate') {
    $env:CLIPCUDA_MUTATE = $args.Count -gt 1 ? $args[1] : 'all'
    $env:CLIPCUDA_MUTATE_MOST = $args.Count -gt 2 ? $args[2] : ''
    dotnet test tests/ClipCuda.Tests -c Release --filter FullyQualifiedName~All_mutants --logger 'console;verbosity=normal'
    exit $LASTEXITCODE
}

if ($args.Count -gt 1 -and "$($args[0]) $($args[1])" -ceq 'build managedcuda') {
    # A plug-in that ClipCuda.sln does not know; it is copied beside the program and the tests.
    dotnet build ClipCuda.sln -c Release
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
    dotnet build src/ClipCuda.Device.ManagedCuda -c Release @($args | Select-Object -Skip 2)
    exit $LASTEXITCODE
}

switch -Exact ("$args") {
    'kernels' { Build-Kernels }
    'kernels --nvcc' { Test-KernelsWithNvcc }
    'build' { dotnet build ClipCuda.sln; exit $LASTEXITCODE }
    'test' { dotnet test; exit $LASTEXITCODE }
    default {
        [Console]::Error.WriteLine('usage: ./build.ps1 kernels [--nvcc] | build [managedcuda [-p:ManagedCudaPath=FOLDER]] | test | bench [filter] [--quick] [--output FOLDER] | fuzz [count] [seed] | mutate [kernel] [most] | faults | counters')
        exit 2
    }
}
