//! The activations of MLPs: which there are, and the one way in which every instruction set computes them.
//!
//! ```text
//! silu(x)      = x / (1 + exp(-x))
//! gelu_tanh(x) = x / (1 + exp(-x·(GELU_CUBE·x² + GELU_LINEAR))), which is ½x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
//! gelu_erf(x)  = max(x, 0) - |x|·tail, tail = ½·erfc(|x|/√2) = t·p(t)·exp(-x²/2), t = 1 / (1 + ERF_P·|x|)
//! relu(x)      = max(x, 0)          relu2(x) = max(x, 0)²
//! xielu(x)     = alpha_p·p² + alpha_n·(exp(n) - 1 - n) + beta·x, p = max(x, 0), n = min(x, 0)
//! ```
//!
//! `p` is formula 7.1.26 of Abramowitz and Stegun's *Handbook of Mathematical Functions*: within 1.5e-7 of erf. `exp`
//! is [`crate::exp`]'s.

/// What stands between the linears of an MLP.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// `x·σ(x)` (arXiv:1702.03118).
    #[default]
    Silu,
    /// `x·Φ(x)` by tanh (arXiv:1606.08415, section 2).
    GeluTanh,
    /// `x·Φ(x)`, `Φ` by the error function.
    GeluErf,
    /// `max(x, 0)`
    Relu,
    /// `max(x, 0)²` (Primer, arXiv:2109.08668, section 3).
    Relu2,
    /// `alpha_p·x² + beta·x` above 0, `alpha_n·(exp(x) - 1 - x) + beta·x` below (xIELU, arXiv:2411.13010, equation 11).
    Xielu {
        /// Of the square.
        alpha_p: f32,
        /// Of what lies below 0.
        alpha_n: f32,
        /// The slope at 0.
        beta: f32,
    },
}

impl Activation {
    /// All of them, parameters as a model's are before it is trained.
    pub const ALL: [Activation; 6] = [
        Activation::Silu,
        Activation::GeluTanh,
        Activation::GeluErf,
        Activation::Relu,
        Activation::Relu2,
        Activation::XIELU,
    ];

    /// xIELU as a model's is before it is trained.
    pub const XIELU: Activation = Activation::Xielu { alpha_p: 0.8, alpha_n: 0.8, beta: 0.5 };

    /// `silu`, `gelu_tanh`, `gelu_erf`, `relu`, `relu2` or `xielu`.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Silu => "silu",
            Activation::GeluTanh => "gelu_tanh",
            Activation::GeluErf => "gelu_erf",
            Activation::Relu => "relu",
            Activation::Relu2 => "relu2",
            Activation::Xielu { .. } => "xielu",
        }
    }

    /// Whether it is exactly zero for all that is negative.
    pub fn has_zeros(self) -> bool {
        matches!(self, Activation::Relu | Activation::Relu2)
    }
}

/// `2·√(2/π)`
pub(crate) const GELU_LINEAR: f32 = 1.595_769_2;
/// `2·√(2/π)·0.044715`
pub(crate) const GELU_CUBE: f32 = 0.071_354_82;
/// `0.3275911 / √2`
pub(crate) const ERF_P: f32 = 0.231_641_9;
/// Half of the coefficients of 7.1.26, highest power first.
pub(crate) const ERF_POLYNOMIAL: [f32; 5] = [0.530_702_7, -0.726_576, 0.710_706_9, -0.142_248_37, 0.127_414_8];
