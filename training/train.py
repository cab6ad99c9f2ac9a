"""Train Any2Seg on a data set in DELIVER's layout.

    python training/train.py training/configs/drive_b0.yaml [key=value ...]
    torchrun --nproc_per_node=4 training/train.py training/configs/drive_b0.yaml [key=value ...]

The same file runs on a CPU, on one GPU or under torchrun. It writes to <out>: best.safetensors and final.safetensors
(checkpoints for any2seg_core.predictor), last.pt (with resume=true the run goes on exactly there) and log.jsonl.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from any2seg_core.checkpoint import save_checkpoint
from any2seg_core.contract import InputContract
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.dropout import sample_present
from any2seg_core.errors import UserError
from any2seg_core.evaluation.metrics import ConfusionMatrix
from any2seg_core.evaluation.subsets import PriorStatistics, evaluate_subsets, prior_baselines, subset_mean
from any2seg_core.labels import label_space
from any2seg_core.models import Any2Seg
from training.batches import SampleNumbers, evaluation_batches, to_model_input, training_batches
from training.build import build_augment, build_loss, build_model, build_optimizer, learning_rate, provenance
from training.config import TrainConfig, load_config
from training.processes import Processes
from training.reporter import Reporter
from training.state import MovingAverage, load_state, save_state
from training.tables import render, summarise


def evaluate(
    model: Any2Seg, frames: DeliverDataset, count: int, contract: InputContract, processes: Processes
) -> dict[str, ConfusionMatrix]:
    """All subsets on ``count`` evenly spread frames; every process takes a share, and all of them get the sum."""
    indices = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int).tolist()
    batches = evaluation_batches(frames, indices[processes.rank :: processes.world_size], contract, processes.device)
    table = evaluate_subsets(model, batches, label_space(contract.label_space))
    for matrix in table.values():
        matrix.counts = processes.total(torch.from_numpy(matrix.counts)).numpy()
    return table


def attention_kernels(device: torch.device) -> AbstractContextManager:
    """Attention for training: on a CPU the plain one, whose backward takes a third of the fused one's time."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def train(config: TrainConfig, processes: Processes) -> dict[str, Any]:
    """Run the training and the final evaluation on all val frames; returns the summary stored in final.safetensors."""
    device, world_size = processes.device, processes.world_size
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)  # the same first weights in every process

    # Data
    train_frames = DeliverDataset(config.data, "train", config.modalities, config.cases, config.cache)
    val_frames = DeliverDataset(config.data, "val", config.modalities, config.cases)
    contract = InputContract(modalities=config.modalities, height=config.height, width=config.width)
    space = label_space(contract.label_space)
    prior = PriorStatistics(len(space))
    for index in range(len(train_frames)):
        prior.update(train_frames.labels(index))

    # Model, loss, optimiser
    model = build_model(config, contract).to(device, memory_format=torch.channels_last)
    average = MovingAverage(model, config.ema_decay)
    loss_function = build_loss(config, prior.class_pixels()).to(device)
    optimizer = build_optimizer(config, model)
    origin = provenance(config, train_frames)
    step, best, used_s = 0, -1.0, 0.0
    if config.resume:
        state = load_state(config.out / "last.pt")
        model.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, best, used_s = state["step"], state["best"], state["used_s"]
    config.out.mkdir(parents=True, exist_ok=True)  # not before: a run that cannot start leaves nothing behind
    if config.compile_fusion:
        model.fusion.compile(dynamic=False)  # its shapes do not depend on which modalities are present
    parallel = processes.parallel(model)

    numbers = SampleNumbers(len(train_frames), config.batch_size, config.seed, step, processes.rank, world_size)
    batches = training_batches(train_frames, build_augment(config), numbers, config.workers)
    subsets_drawn = torch.Generator()
    began_s = time.monotonic() - used_s

    def progress() -> float:
        """Finished share of the run, in steps or in time, whichever is further; the same in all processes."""
        share = step / config.steps
        if config.max_minutes is not None:
            share = max(share, (time.monotonic() - began_s) / 60.0 / config.max_minutes)
        return min(1.0, processes.largest(share))

    with Reporter(config.out / "log.jsonl", processes.is_main) as reporter:
        finished = progress()
        losses: list[torch.Tensor] = []
        while finished < 1.0:
            # All randomness follows from the step, so a resumed run draws what the first one would have drawn.
            draw = config.seed * 1_000_003 + step * world_size + processes.rank
            torch.manual_seed(draw)
            rate = learning_rate(config, step, finished)
            for group in optimizer.param_groups:
                group["lr"] = rate

            planes, labels = next(batches)  # (B, C, H, W) uint8 per modality, (B, H, W) uint8
            images = to_model_input(planes, contract, device)
            strength = min(1.0, (step + 1) / (config.dropout_warmup_steps + 1))
            present = sample_present(
                len(labels), config.modalities, config.modality_dropout, subsets_drawn.manual_seed(draw), strength
            )  # (B, M)
            with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16), attention_kernels(device):
                logits = parallel(images, present.to(device)).logits  # (B, K, H, W)
            loss = loss_function(logits, labels.to(device, torch.int64))

            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
            average.update(model, step)
            losses.append(loss.detach())
            step += 1
            finished = progress()

            if step % config.log_every == 0:
                mean_loss = float(torch.stack(losses).mean())
                losses.clear()
                minutes = (time.monotonic() - began_s) / 60.0
                reporter.event(
                    "step", finished, step=step, loss=mean_loss, lr=rate, norm=float(norm), minutes=round(minutes, 2)
                )
            if step % config.eval_every == 0 and finished < 1.0:
                table = evaluate(average.model, val_frames, config.eval_frames, contract, processes)
                mean = subset_mean(table)
                full = list(table.values())[-1].miou()
                reporter.event("evaluation", finished, step=step, full=100 * full, subset_mean=100 * mean)
                if mean > best and processes.is_main:
                    results = summarise(table, space, frames=config.eval_frames)
                    document = origin | {"steps": step, "results": results}
                    save_checkpoint(config.out / "best.safetensors", average.model, contract, document)
                best = max(mean, best)
            if (step % config.save_every == 0 or finished >= 1.0) and processes.is_main:
                state = {"model": model.state_dict(), "average": average.model.state_dict(), "best": best, "step": step}
                state |= {"optimizer": optimizer.state_dict(), "used_s": time.monotonic() - began_s}
                save_state(config.out / "last.pt", state)

        # The model that ships: the moving average, judged on all val frames
        table = evaluate(average.model, val_frames, len(val_frames), contract, processes)
        floors = prior_baselines(prior, map(val_frames.labels, range(len(val_frames))), space)
        results = summarise(table, space, floors, len(val_frames))
        minutes = round((time.monotonic() - began_s) / 60.0, 1)
        if processes.is_main:
            document = origin | {"steps": step, "minutes": minutes, "results": results}
            save_checkpoint(config.out / "final.safetensors", average.model, contract, document)
        reporter.event("final", 1.0, step=step, minutes=minutes, results=results["subset_mean"])
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    try:
        config = load_config(sys.argv[1:] if arguments is None else arguments)
        processes = Processes.start(config.device)
        results = train(config, processes)
    except UserError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    if processes.is_main:
        print(render(results))
    processes.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
