"""`st.train`: optimisers and input pipelines of the graph, and what runs and saves a training."""

# ruff: noqa: F401 (a face only passes names on)

from sw.graph.train import (
    AdadeltaOptimizer,
    AdagradDAOptimizer,
    AdagradOptimizer,
    AdamOptimizer,
    Coordinator,
    ExponentialMovingAverage,
    FtrlOptimizer,
    GradientDescentOptimizer,
    LooperThread,
    MomentumOptimizer,
    Optimizer,
    ProximalAdagradOptimizer,
    ProximalGradientDescentOptimizer,
    QueueRunner,
    RMSPropOptimizer,
    add_queue_runner,
    assert_global_step,
    batch,
    batch_join,
    cosine_decay,
    cosine_decay_restarts,
    create_global_step,
    exponential_decay,
    get_global_step,
    get_or_create_global_step,
    global_step,
    input_producer,
    inverse_time_decay,
    limit_epochs,
    linear_cosine_decay,
    maybe_batch,
    maybe_batch_join,
    maybe_shuffle_batch,
    maybe_shuffle_batch_join,
    natural_exp_decay,
    noisy_linear_cosine_decay,
    piecewise_constant,
    piecewise_constant_decay,
    polynomial_decay,
    range_input_producer,
    replica_device_setter,
    shuffle_batch,
    shuffle_batch_join,
    slice_input_producer,
    start_queue_runners,
    string_input_producer,
)
from sw.runtime.checkpoint.bundle import (
    CheckpointReader,
)
from sw.runtime.checkpoint.inspect import (
    checkpoints_iterator,
    get_checkpoint_mtimes,
    list_variables,
    load_checkpoint,
    load_variable,
    remove_checkpoint,
)
from sw.runtime.checkpoint.meta_graph import (
    export_meta_graph,
    import_meta_graph,
)
from sw.runtime.checkpoint.objects import (
    Checkpoint,
    CheckpointManager,
)
from sw.runtime.checkpoint.saver import (
    Saver,
)
from sw.runtime.checkpoint.state import (
    checkpoint_exists,
    get_checkpoint_state,
    latest_checkpoint,
    update_checkpoint_state,
)
from sw.runtime.checkpoint.warm_start import (
    init_from_checkpoint,
    warm_start,
)
from sw.runtime.summary.writer import (
    FileWriter,
    summary_iterator,
)
from sw.runtime.training.checkpoint_hook import (
    CheckpointSaverHook,
    CheckpointSaverListener,
)
from sw.runtime.training.creators import (
    ChiefSessionCreator,
    WorkerSessionCreator,
)
from sw.runtime.training.hook import (
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
)
from sw.runtime.training.hooks import (
    FeedFnHook,
    FinalOpsHook,
    GlobalStepWaiterHook,
    LoggingTensorHook,
    NanLossDuringTrainingError,
    NanTensorHook,
    StepCounterHook,
    StopAtStepHook,
)
from sw.runtime.training.monitored import (
    MonitoredSession,
    MonitoredTrainingSession,
    SingularMonitoredSession,
)
from sw.runtime.training.scaffold import (
    Scaffold,
)
from sw.runtime.training.summary_hooks import (
    ProfilerHook,
    SummarySaverHook,
)
from sw.runtime.training.timer import (
    SecondOrStepTimer,
)

NewCheckpointReader = CheckpointReader
SummaryWriter = FileWriter
