"""Train Any2Seg on a data set in DELIVER's layout.

    python training/train.py training/configs/drive_b0.yaml [key=value ...]
    torchrun --nproc-per-node 4 training/train.py training/configs/drive_b0.yaml [key=value ...]

The same file runs on a CPU, on one GPU or under torchrun. It writes to <out>: best.safetensors and final.safetensors
(checkpoints for any2seg_core.runtime.predictor), last.pt (with resume=true the run goes on exactly there), log.jsonl,
and, where only some frames keep their labels, labelled.txt with their names.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from any2seg_core.base.allocator import keep_freed_memory
from any2seg_core.base.atomic import only_one
from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import refusal
from any2seg_core.evaluation.batches import evaluation_batches, spread
from any2seg_core.evaluation.metrics import ConfusionMatrix
from any2seg_core.evaluation.scores import SubsetScore
from any2seg_core.evaluation.subsets import PriorBaselines, evaluate_subsets, prior_baselines, subset_mean
from any2seg_core.evaluation.tables import render, summarise
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_training.batches import Batch, MixedNumbers, SampleKey, SampleNumbers, to_model_batch, training_batches
from any2seg_training.build import Run, build_run, learning_rate, outline, provenance
from any2seg_training.config import TrainConfig, load_config
from any2seg_training.few_labels import write_names
from any2seg_training.guard import require_finite, require_val
from any2seg_training.objective import mean_terms
from any2seg_training.processes import Processes
from any2seg_training.reporter import Reporter
from any2seg_training.sample_changes import build_augment, build_degradation, fitted_frames
from any2seg_training.settings import answered_help


def attention_backend(device: torch.device) -> AbstractContextManager:
    """Attention for training: on a CPU the plain one, whose backward takes a third of the fused one's time."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def progress(config: TrainConfig, run: Run, processes: Processes) -> float:
    """Finished share of the run 0..1, in steps or in either time, whichever is furthest; the same in all processes."""
    share = run.step / config.steps
    if config.max_minutes is not None:
        share = max(share, run.minutes / config.max_minutes)
    if config.max_processor_minutes is not None:
        share = max(share, run.processor_minutes / config.max_processor_minutes)
    return min(1.0, processes.largest(share))


def evaluate(run: Run, count: int, processes: Processes) -> dict[str, ConfusionMatrix]:
    """The subsets of the run on ``count`` evenly spread val frames; each process takes a share, all get the sum."""
    frames = run.val_frames
    mine = spread(len(frames), count)[processes.rank :: processes.world_size]
    batches = evaluation_batches(frames, mine, run.contract, processes.device)
    space, suite = run.contract.label_space, run.contract.suite
    table = evaluate_subsets(run.average.model, batches, space, run.subsets, suite=suite)
    for matrix in table.values():
        matrix.counts = processes.total(torch.from_numpy(matrix.counts)).numpy()
    return table


def summary(
    run: Run, table: dict[str, ConfusionMatrix], frames: int, baselines: PriorBaselines | None = None
) -> dict[str, Any]:
    """What a checkpoint tells of its own evaluation."""
    scores = {letters: SubsetScore.of_confusion(matrix, frames) for letters, matrix in table.items()}
    return summarise(scores, run.contract.label_space, frames, baselines)


def gradients(
    config: TrainConfig,
    run: Run,
    processes: Processes,
    parallel: nn.Module,
    batches: Iterator[Batch],
) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]], list[list[SampleKey]]]:
    """Forward and backward of the batches of one step: leaves the mean gradient in the parameters.

    Returns:
        Per batch the loss, what else its terms have to log, and what it was made of.
    """
    device = processes.device
    half = torch.bfloat16 if config.bf16 else torch.float16 if config.fp16 else None
    losses, terms, keys = [], [], []
    first = run.step * config.accumulate
    for number in range(first, first + config.accumulate):
        # All randomness follows from the number of the batch, so a resumed run draws what the first one would have.
        torch.manual_seed(config.seed * 1_000_003 + number * processes.world_size + processes.rank)
        batch = to_model_batch(next(batches), run.contract, device)
        with processes.backward_context(parallel, last=number == first + config.accumulate - 1):
            with torch.autocast(device.type, half, enabled=half is not None), attention_backend(device):
                student = run.method.student_batch(batch, run.step)
                prediction = parallel(student.images, student.present, student.subsets)
            loss, parts = run.method.loss(run.objective, run.model, student, prediction)
            run.scaler.scale(loss / config.accumulate).backward()
        losses.append(loss.detach())
        terms.append(parts)
        keys.append(batch.keys)
    return losses, terms, keys


def open_batches(config: TrainConfig, run: Run, processes: Processes) -> Iterator[Batch]:
    """Endless batches of this process from the step on at which the run is."""
    first = run.step * config.accumulate
    sizes = (config.batch_size, config.unlabelled_batch_size or config.batch_size)
    numbers = MixedNumbers([
        SampleNumbers(len(frames), size, config.seed, first, processes.rank, processes.world_size, part)
        for part, (frames, size) in enumerate(zip(run.parts, sizes, strict=False))
    ])  # fmt: skip
    parts = run.method.parts(run.parts)
    if config.fit:
        parts = fitted_frames(parts, run.contract)
    augment, degradation = build_augment(config, run.contract.suite), build_degradation(config, run.contract)
    with_clean = run.method.asks_teachers
    return training_batches(run.contract.modalities, parts, augment, numbers, config.workers, degradation, with_clean)


def train(config: TrainConfig, processes: Processes) -> dict[str, Any]:
    """Run the training and the final evaluation on all val frames; returns the summary stored in final.safetensors."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    run = build_run(config, processes)
    require_val(run.val_frames, config.eval_frames, processes)
    model, optimizer = run.model, run.optimizer
    parallel = processes.parallel(model)
    batches = open_batches(config, run, processes)
    board = config.out / "tensorboard" if config.tensorboard else None
    losses: list[torch.Tensor] = []
    terms: list[dict[str, torch.Tensor]] = []
    origin = provenance(config, run)
    make_run_folder(config.out)  # not before: a run that cannot start leaves nothing behind
    if config.data.has_few_labels and processes.is_main:
        write_names(config.out / "labelled.txt", run.train_frames)

    with Reporter(config.out / "log.jsonl", processes.is_main, board, run.step) as reporter:
        reporter.note(outline(run))
        while (done := progress(config, run, processes)) < 1.0:
            rate = learning_rate(config, run.step, done)
            for group in optimizer.param_groups:
                group["lr"] = rate

            optimizer.zero_grad()
            batch_losses, batch_terms, keys = gradients(config, run, processes, parallel, batches)
            losses += batch_losses
            terms += batch_terms
            run.scaler.unscale_(optimizer)
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            require_finite(config, run, processes, batch_losses, norm, keys)
            run.scaler.step(optimizer)
            run.scaler.update()
            processes.share_buffers(model)
            run.average.update(model, run.step)
            run.method.after_step(model, run.step)
            run.step += 1

            if run.step % config.log_every == 0:
                values = {"loss": float(torch.stack(losses).mean()), "lr": rate, "norm": float(norm)}
                values |= mean_terms(terms)
                losses.clear()
                terms.clear()
                if config.skip_corrupt:
                    values["skipped"] = sum(len(frames.skipped) for frames in run.parts)
                reporter.event("step", done, step=run.step, **run.spent, **values)
            if run.step % config.eval_every == 0:
                judge(config, run, processes, reporter, origin)
            if run.step % config.save_every == 0 and processes.is_main:
                run.save(config.out / "last.pt")
    return finish(config, run, processes, reporter, origin)


def judge(config: TrainConfig, run: Run, processes: Processes, reporter: Reporter, origin: dict[str, Any]) -> None:
    """Evaluate on some val frames and keep the best model so far."""
    count = min(config.eval_frames, len(run.val_frames))
    table = evaluate(run, count, processes)
    mean, full = subset_mean(table), list(table.values())[-1].miou()
    done = progress(config, run, processes)
    reporter.event("evaluation", done, step=run.step, full=round(100 * full, 2), subset_mean=round(100 * mean, 2))
    if mean > run.best and processes.is_main:
        results = summary(run, table, count)
        document = origin | {"steps": run.step, **run.spent, "results": results}
        save_checkpoint(config.out / "best.safetensors", run.average.model, run.contract, document)
    run.best = max(run.best, mean)  # in this order: a NaN (no labelled val pixel) changes nothing


def finish(
    config: TrainConfig, run: Run, processes: Processes, reporter: Reporter, origin: dict[str, Any]
) -> dict[str, Any]:
    """Write the last state, judge the moving average on the val frames and write the checkpoint that ships."""
    spent = run.spent
    if processes.is_main:
        run.save(config.out / "last.pt")
    space = run.contract.label_space
    count = min(config.final_frames or len(run.val_frames), len(run.val_frames))
    table = evaluate(run, count, processes)
    baselines = prior_baselines(run.prior, run.val_frames.readable_labels(spread(len(run.val_frames), count)), space)
    results = summary(run, table, count, baselines)
    if processes.is_main:
        document = origin | {"steps": run.step, **spent, "results": results}
        save_checkpoint(config.out / "final.safetensors", run.average.model, run.contract, document, config.weights)
    reporter.event("final", 1.0, step=run.step, **spent, subset_mean=results["subset_mean"])
    return results


@contextmanager
def alone_in(out: Path, processes: Processes) -> Iterator[None]:
    """Holds the folder of a run against others; the first process has the lock, and all of them learn of a refusal."""
    with ExitStack() as stack:
        refused: UserError | None = None
        try:
            if processes.is_main:
                stack.enter_context(only_one(out / ".lock", f"out={out}: a training"))
        except UserError as error:
            refused = error
        if processes.largest(float(refused is not None)):
            raise refused or UserError(
                f"out={out}: a training is under way there; choose another folder", "output-busy"
            )
        yield


def make_run_folder(out: Path) -> None:
    """Make the folder of a run, and tidy up what a killed one left half written; UserError where it cannot be made."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for half_written in out.glob(".*.partial.*"):  # of a run that was killed while it saved
            half_written.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"out={out}: no folder can be made there ({error.strerror}); choose another", "output-unwritable"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if answered_help(words, __doc__, TrainConfig):
        return 0
    keep_freed_memory()
    try:
        config = load_config(words)
        processes = Processes.start(config.device)
        with alone_in(config.out, processes):
            results = train(config, processes)
    except (UserError, OSError) as error:
        print(f"train: {refusal(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("train: stopped; resume=true goes on from the last state saved", file=sys.stderr)
        return 130
    if processes.is_main:
        print(render(results))
    processes.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
