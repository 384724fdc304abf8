"""Every dialect of the project, with its operators defined."""

from tetrapla.ir.crossbar import Crossbar
from tetrapla.ir.nn import Nn
from tetrapla.ir.quant import Quant
from tetrapla.ir.spike import Spike

DIALECTS = (Nn, Quant, Spike, Crossbar)
