// UpstreamEndpoints: which endpoint of a fleet takes the next request. Knows no HTTP; time is given. One thread.
//
// An endpoint is usable while its last health probe was answered and its circuit is closed. The circuit opens after `failures_max` failures
// in a row, for `cooldown`, twice as long each time up to `cooldown_max`; then one request may try, and while it is not answered another
// each `trial`. The beginning of its answer closes the circuit, and one failure opens it again until an answer was good. Of the requests
// that began before it opened, success closes it and failure means nothing more. One that asks to be left alone for a while is, no longer
// than `cooldown_max`; that says nothing of its health.
//
// What is held to a form may take its server long to begin, whoever else is answered: such requests try beside the others, and never in
// their place.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/clock.h"

namespace tollgate::inference {

class UpstreamEndpoints {
 public:
  struct Rules {
    int failures_max = 3;
    std::chrono::milliseconds cooldown{1000};
    std::chrono::milliseconds cooldown_max{30'000};
    std::chrono::milliseconds trial{5000};
  };
  // kSilent: nothing came in time, of this one or any other since it was sent. kNeither: it says nothing of the endpoint (we went away, or
  // asked for nonsense).
  enum class Outcome { kGood, kFailed, kSilent, kNeither };

  explicit UpstreamEndpoints(std::size_t count) : UpstreamEndpoints(count, Rules()) {}
  UpstreamEndpoints(std::size_t count, Rules rules) : rules_(rules), endpoints_(count) {}

  // The endpoint for a prompt of this `affinity`: always the same one for the same prompt, so that its cache is of use, unless it has a
  // quarter more load than the mean; then the next in this prompt's order that has not. Endpoints in `tried` are left out. `form`: it is
  // held to one. Nothing: none is usable.
  std::optional<std::size_t> Choose(std::uint64_t affinity, base::MonoTime now, const std::vector<std::size_t>& tried,
                                    bool form = false) const;

  // Counts a request at an endpoint. `trying`: it may try an endpoint whose circuit is open. Ended must be told with it.
  struct Begun {
    bool trying = false;
    std::int64_t round = 0;  // How often the circuit had opened.
    bool form = false;
    std::int64_t trial = 0;  // Which.
  };
  Begun Began(std::size_t endpoint, base::MonoTime now, bool form = false);
  void Answers(std::size_t endpoint);  // One that tries has begun to be answered; it no longer does.
  void GotOn(std::size_t endpoint, base::MonoTime now) { endpoints_[endpoint].got_on_at = now; }  // More of some answer has come.
  bool GotOnSince(std::size_t endpoint, base::MonoTime when) const { return endpoints_[endpoint].got_on_at > when; }
  void Ended(std::size_t endpoint, Outcome outcome, base::MonoTime now, const Begun& begun);
  void Rest(std::size_t endpoint, std::chrono::milliseconds wait, base::MonoTime now);
  void Probed(std::size_t endpoint, bool healthy);

  int usable(base::MonoTime now) const;  // For what is held to no form.
  int load(std::size_t endpoint) const { return endpoints_[endpoint].load; }
  std::chrono::milliseconds RetryIn(base::MonoTime now) const;  // When the first may be usable again.

 private:
  struct Trial {
    std::int64_t number = 0;  // 0: none is under way.
    base::MonoTime alone_until{};
  };
  struct Endpoint {
    int load = 0;  // Requests under way.
    bool healthy = true;
    int failures = 0;                          // In a row.
    int opened = 0;                            // Times its circuit opened, since it last worked.
    std::int64_t round = 0;                    // Times that it opened at all.
    std::int64_t trials = 0;                   // Ever.
    Trial plain, form;                         // The last of each.
    std::optional<base::MonoTime> open_until;  // Set while its circuit is open.
    base::MonoTime rests_until{};              // As it asked.
    base::MonoTime got_on_at{};

    const Trial& TrialOf(bool its_form) const { return its_form ? form : plain; }
    Trial& TrialOf(bool its_form) { return its_form ? form : plain; }
  };
  static bool Usable(const Endpoint& endpoint, base::MonoTime now, bool form);

  const Rules rules_;
  std::vector<Endpoint> endpoints_;
};

}  // namespace tollgate::inference
