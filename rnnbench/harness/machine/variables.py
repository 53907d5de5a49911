"""Variables of the shell that change how fast or how precise torch's libraries are, though no code has changed."""

import os

THREADS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OMP_PROC_BIND", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# The instruction sets that libraries may use, the allocator, and how a GPU is called. One of them can make torch.nn
# several times slower and leave hand-written cells as they are.
LIBRARIES = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "LD_PRELOAD",
    "PYTHONMALLOC",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUDA_MODULE_LOADING",
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE",
    "CUDA_MPS_PIPE_DIRECTORY",
    "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TORCH_COMPILE_DISABLE",
    "TORCHDYNAMO_DISABLE",
)
# What torch itself sets up to 2.9 when it starts CUDA, and what CUDA does without it.
DEFAULTS = {"CUDA_MODULE_LOADING": "LAZY"}
# Which cards a process sees, and in which order. A run tells them and compares the cards themselves.
OF_CARDS = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
)
# Each call of these libraries prints a line, which takes longer than a small product.
VERBOSE = ("ONEDNN_VERBOSE", "DNNL_VERBOSE", "MKL_VERBOSE")
# oneDNN may multiply float32 in bfloat16 if one of these allows it, the first that is set. Torch's own settings don't
# reach it, and only torch.nn's layers and some products are made in oneDNN.
FLOAT32_IN_ONEDNN = ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE")
FULL_PRECISION = {FLOAT32_IN_ONEDNN[0]: "STRICT"}  # for workers, so that float32 means float32 on both sides


def settings() -> dict[str, str]:
    """Return the variables of this module that the shell sets, for the environment of a run."""
    names = [name for name in (*THREADS, *LIBRARIES) if os.environ.get(name, "") not in ("", DEFAULTS.get(name))]
    names += [name for name in VERBOSE if os.environ.get(name, "0") not in ("", "0")]
    return {name: os.environ[name] for name in names}


def of_cards() -> dict[str, str]:
    """Return the variables that say which cards this process sees; an empty one hides all."""
    return {name: os.environ[name] for name in OF_CARDS if name in os.environ}


def library_notes(*, in_float32: bool = False) -> list[str]:
    """Return notes for the reader of results about what the shell sets for torch's libraries, each a clause.

    `in_float32`: whether this process itself multiplies float32 on the host, in the precision that the shell sets.
    """
    by_name = settings()
    notes = list[str]()
    precision = next((name for name in FLOAT32_IN_ONEDNN if os.environ.get(name)), "")
    if in_float32 and precision and os.environ[precision].upper() != FULL_PRECISION[FLOAT32_IN_ONEDNN[0]]:
        by_name[precision] = os.environ[precision]
    for names, effect in (
        (
            FLOAT32_IN_ONEDNN,
            "lets torch.nn's layers multiply float32 with less precision than other code: unset it for equal precision",
        ),
        (LIBRARIES, "changes how fast torch's libraries are"),
        (VERBOSE, "makes torch's libraries print a line for each call, and slower: unset it"),
    ):
        texts = [f"{name}={value}" for name, value in by_name.items() if name in names]
        notes += [f"the shell sets {', '.join(texts)}, which {effect}"] if texts else []
    return notes
