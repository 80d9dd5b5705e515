"""What the training loop asks of anything that can be trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn
from torch.utils.data import DataLoader

from affectus.nn.phase import Phase


class Task(ABC):
    """A model with its data, losses and validation; holds no optimiser code.

    `model` learns; `select` names the validation metric that chooses the checkpoint (higher is better unless it
    starts with "-"; "epoch" keeps the last one, so that nothing is chosen); `validation_split` names its data.
    """

    model: nn.Module
    select: str
    validation_split: str

    @abstractmethod
    def loader(self, phase: Phase, seed: int) -> DataLoader:
        """Training batches of one epoch; shuffled by `seed`."""

    @abstractmethod
    def losses(self, model: nn.Module, batch: Mapping[str, Tensor], phase: Phase) -> dict[str, Tensor]:
        """Named scalar losses of a batch; their sum is minimised."""

    @abstractmethod
    def validate(self, model: nn.Module) -> dict[str, float]:
        """Metrics on the validation split; `model` is in evaluation mode."""

    def enter(self, phase: Phase) -> None:  # noqa: B027 - optional
        """Called before a phase starts (change of resolution, new data …)."""

    def begin(self, phase: Phase, epoch: int) -> None:  # noqa: B027 - optional
        """Called before every epoch of a phase, counted from 0, also after a resume (ramps of loss weights …)."""

    def depth(self, name: str) -> int:
        """Distance of a parameter from the output, for layer-wise learning-rate decay."""
        return 0
