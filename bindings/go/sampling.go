package rasp

/*
#include <rasp.h>
*/
import "C"

import (
	"fmt"
)

// Sampling is how tokens are chosen. Greedy is the default; start from DefaultSampling.
type Sampling struct {
	Temperature                       float32
	TopK                              uint32
	TopP, MinP                        float32
	RepetitionPenalty                 float32
	RepetitionWindow                  uint32
	Seed                              uint64
	PresencePenalty, FrequencyPenalty float32
	TopNSigma, TypicalP               float32
	XTCProbability, XTCThreshold      float32
	DRYMultiplier, DRYBase            float32
	DRYAllowedLength, DRYWindow       uint32
	MirostatTau, MirostatEta          float32
	// Order has the stages that come first; the others follow in the order of their numbers.
	Order []Stage
}

// A Stage of sampling leaves tokens out, or divides the logits.
type Stage uint8

// The stages of sampling, in the order they have unless told.
const (
	StageTopNSigma   Stage = C.RASP_STAGE_TOP_N_SIGMA
	StageTopK        Stage = C.RASP_STAGE_TOP_K
	StageTemperature Stage = C.RASP_STAGE_TEMPERATURE
	StageTypical     Stage = C.RASP_STAGE_TYPICAL
	StageTopP        Stage = C.RASP_STAGE_TOP_P
	StageMinP        Stage = C.RASP_STAGE_MIN_P
	StageXTC         Stage = C.RASP_STAGE_XTC
)

// DefaultSampling is greedy.
func DefaultSampling() Sampling {
	var c C.rasp_sampling
	C.rasp_sampling_init_2(&c)
	return Sampling{
		Temperature: float32(c.temperature), TopK: uint32(c.top_k), TopP: float32(c.top_p), MinP: float32(c.min_p),
		RepetitionPenalty: float32(c.repetition_penalty), RepetitionWindow: uint32(c.repetition_window),
		Seed: uint64(c.seed), PresencePenalty: float32(c.presence_penalty),
		FrequencyPenalty: float32(c.frequency_penalty), TopNSigma: float32(c.top_n_sigma),
		TypicalP: float32(c.typical_p), XTCProbability: float32(c.xtc_probability),
		XTCThreshold: float32(c.xtc_threshold), DRYMultiplier: float32(c.dry_multiplier), DRYBase: float32(c.dry_base),
		DRYAllowedLength: uint32(c.dry_allowed_length), DRYWindow: uint32(c.dry_window),
		MirostatTau: float32(c.mirostat_tau), MirostatEta: float32(c.mirostat_eta),
	}
}

// SetSampling sets how tokens are chosen from now on.
func (s *Session) SetSampling(sampling Sampling) error {
	var c C.rasp_sampling
	C.rasp_sampling_init_2(&c)
	c.temperature, c.top_k = C.float(sampling.Temperature), C.uint32_t(sampling.TopK)
	c.top_p, c.min_p = C.float(sampling.TopP), C.float(sampling.MinP)
	c.repetition_penalty = C.float(sampling.RepetitionPenalty)
	c.repetition_window, c.seed = C.uint32_t(sampling.RepetitionWindow), C.uint64_t(sampling.Seed)
	c.presence_penalty, c.frequency_penalty = C.float(sampling.PresencePenalty), C.float(sampling.FrequencyPenalty)
	c.top_n_sigma, c.typical_p = C.float(sampling.TopNSigma), C.float(sampling.TypicalP)
	c.xtc_probability, c.xtc_threshold = C.float(sampling.XTCProbability), C.float(sampling.XTCThreshold)
	c.dry_multiplier, c.dry_base = C.float(sampling.DRYMultiplier), C.float(sampling.DRYBase)
	c.dry_allowed_length, c.dry_window = C.uint32_t(sampling.DRYAllowedLength), C.uint32_t(sampling.DRYWindow)
	c.mirostat_tau, c.mirostat_eta = C.float(sampling.MirostatTau), C.float(sampling.MirostatEta)
	if len(sampling.Order) > len(c.order) {
		return fmt.Errorf("the order of sampling has %d stages; there are 7", len(sampling.Order))
	}
	for at, stage := range sampling.Order {
		c.order[at] = C.uint8_t(stage)
	}
	return s.do(func(e *C.rasp_error) C.rasp_status { return C.rasp_session_set_sampling(s.handle, &c, e) })
}
