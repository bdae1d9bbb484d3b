// Throughput: what a replica did a second lately, and how much of its working time the engine had. Told the running totals, it keeps those
// of the window before; a window is ten seconds or a little more. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace tollgate::inference {

class Throughput {
 public:
  struct Totals {
    std::int64_t prompt_tokens = 0;
    std::int64_t output_tokens = 0;
    std::int64_t busy_micros = 0;    // Turns that had work, whole.
    std::int64_t engine_micros = 0;  // Of those, inside the engine.
  };

  static constexpr std::chrono::seconds kWindow{10};

  // Closes the window if it has lasted long enough.
  void Look(base::MonoTime now, const Totals& totals) {
    if (!began_) began_ = now;
    if (now - *began_ < kWindow) return;
    const double seconds = std::chrono::duration<double>(now - *began_).count();
    prompt_rate_ = static_cast<double>(totals.prompt_tokens - before_.prompt_tokens) / seconds;
    output_rate_ = static_cast<double>(totals.output_tokens - before_.output_tokens) / seconds;
    const std::int64_t busy = totals.busy_micros - before_.busy_micros;
    if (busy > 0) efficiency_ = static_cast<double>(totals.engine_micros - before_.engine_micros) / static_cast<double>(busy);
    before_ = totals;
    began_ = now;
  }

  double prompt_tokens_per_second() const { return prompt_rate_; }
  double output_tokens_per_second() const { return output_rate_; }
  double efficiency() const { return efficiency_; }  // 0 to 1, of the last window that had work; 1 before the first.

 private:
  std::optional<base::MonoTime> began_;
  Totals before_;
  double prompt_rate_ = 0;
  double output_rate_ = 0;
  double efficiency_ = 1;
};

}  // namespace tollgate::inference
