# Verbs: kernels [--nvcc] (CUDA to PTX), build, build managedcuda (the optional second CUDA binding), test, bench [filter] [--quick] (against libtorch), fuzz [count] [seed]
# (random programs, compiler against interpreter; damaged weights, configurations and texts), mutate [kernel] [most] (altered kernels, which their tests must
# notice), faults (every driver call of a run fails once), crash [count] [seed] (runs are killed
# and resumed), soak [steps] (a long run's memory), counters (what kernels ask of memory, to kernels/README.md), gpu-pack [linux-x64|linux-arm64] (an archive
# that tests and measures a machine with an NVIDIA driver and cuBLAS). Only `kernels` needs more than the .NET SDK. The same as build.sh.
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

if ($args.Count -gt 0 -and $args[0] -ceq 'crash') {
    $env:CLIPCUDA_CRASH = $args.Count -gt 1 ? $args[1] : 200
    $env:CLIPCUDA_CRASH_SEED = $args.Count -gt 2 ? $args[2] : 1
    dotnet test tests/ClipCuda.Tests -c Release --filter FullyQualifiedName~CrashTests --logger 'console;verbosity=detailed'
    exit $LASTEXITCODE
}

if ($args.Count -gt 0 -and $args[0] -ceq 'soak') {
    $env:CLIPCUDA_SOAK = $args.Count -gt 1 ? $args[1] : 10000
    dotnet test tests/ClipCuda.Tests -c Release --filter FullyQualifiedName~SoakTests --logger 'console;verbosity=detailed'
    exit $LASTEXITCODE
}

if ($args.Count -gt 1 -and "$($args[0]) $($args[1])" -ceq 'build managedcuda') {
    # A plug-in that ClipCuda.sln does not know; it is copied beside the program and the tests.
    dotnet build ClipCuda.sln -c Release
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
    dotnet build src/ClipCuda.Device.ManagedCuda -c Release @($args | Select-Object -Skip 2)
    exit $LASTEXITCODE
}

# Has folders and lock files of its own, so that no other build is touched.
if ($args.Count -gt 0 -and $args[0] -ceq 'gpu-pack') {
    $rid = $args.Count -gt 1 ? $args[1] : 'linux-x64'
    if ($rid -cnotin 'linux-x64', 'linux-arm64') {
        [Console]::Error.WriteLine("error: there is no GPU pack for '$rid'; there are linux-x64 and linux-arm64")
        exit 2
    }
    $name = "clipcuda-gpu-$rid"
    $folder = "artifacts/$name"
    $archive = "$folder.tar.gz"
    $most = 60000000
    foreach ($old in $folder, $archive) { if (Test-Path $old) { Remove-Item -Recurse $old } }
    New-Item -ItemType Directory -Force $folder | Out-Null
    dotnet publish tests/ClipCuda.Tests -c Release -r $rid --self-contained --artifacts-path artifacts/build -o "$folder/bin" `
        '-p:NuGetLockFilePath=obj/gpu-pack.lock.json' '-p:RestoreLockedMode=false' '-p:DebugType=none' '-p:PublishDocumentationFiles=false'
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
    Copy-Item -Recurse data, LICENSE, THIRD-PARTY-NOTICES.md, tests/ClipCuda.Tests/GpuPack/run $folder
    tar -C artifacts -czf "$archive.tmp" $name
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
    $bytes = (Get-Item "$archive.tmp").Length
    if ($bytes -gt $most) {
        [Console]::Error.WriteLine("error: $archive.tmp has $bytes bytes, more than $most")
        exit 1
    }
    Move-Item "$archive.tmp" $archive
    Remove-Item -Recurse $folder
    "${archive}: $bytes bytes; unpack it on a machine with an NVIDIA driver and cuBLAS and start ./run"
    exit 0
}

switch -Exact ("$args") {
    'kernels' { Build-Kernels }
    'kernels --nvcc' { Test-KernelsWithNvcc }
    'build' { dotnet build ClipCuda.sln; exit $LASTEXITCODE }
    'test' { dotnet test; exit $LASTEXITCODE }
    default {
        [Console]::Error.WriteLine('usage: ./build.ps1 kernels [--nvcc] | build [managedcuda [-p:ManagedCudaPath=FOLDER]] | test | bench [filter] [--quick] [--output FOLDER] | fuzz [count] [seed] | mutate [kernel] [most] | faults | crash [count] [seed] | soak [steps] | counters | gpu-pack [linux-x64|linux-arm64]')
        exit 2
    }
}
