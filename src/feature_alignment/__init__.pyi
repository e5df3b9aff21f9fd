from feature_alignment.api.ansatz import agop as agop
from feature_alignment.api.ansatz import nfa as nfa
from feature_alignment.api.comparison import fixed_vs_adaptive as fixed_vs_adaptive
from feature_alignment.api.judgement import judge as judge
from feature_alignment.api.kernels import layer_alignment as layer_alignment
from feature_alignment.api.kernels import layer_kernels as layer_kernels
from feature_alignment.api.kernels import memory_needed as memory_needed
from feature_alignment.api.kernels import spectrum as spectrum
from feature_alignment.api.kernels import tangent_kernel as tangent_kernel
from feature_alignment.api.probe import Probe as Probe
from feature_alignment.api.published import against as against

__version__: str
