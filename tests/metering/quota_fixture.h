// One instance's quotas over a store in memory, at 2026-11-25T22:00:00Z.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include <utility>
#include <vector>

#include "metering/quotas.h"
#include "tests/support/fake_leases.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::metering {

inline const Scope kOrg{Scope::Kind::kOrg, base::Uuid::NewV7(), "acme"};
inline const Scope kTeam{Scope::Kind::kTeam, base::Uuid::NewV7(), "search"};
inline const Scope kKey{Scope::Kind::kKey, base::Uuid::NewV7(), "app"};
inline const std::vector<Scope> kScopes{kKey, kTeam, kOrg};

inline QuotaRule Rule(const Scope& scope, Meter meter, Window window, std::int64_t amount) {
  return {base::Uuid::NewV7(), scope, meter, window, amount};
}

inline v1::TokenCounts Used(std::int64_t input, std::int64_t output) {
  v1::TokenCounts used;
  used.set_input(input);
  used.set_output(output);
  return used;
}

// One instance over a store of its own, at 2026-11-25T22:00:00Z.
struct Fixture {
  explicit Fixture(std::vector<QuotaRule> rules, bool queued = false, std::chrono::microseconds store_ahead = {})
      : leases(store, clock, holder, queued), quotas(clock, leases) {
    leases.SetAhead(store_ahead);
    SetRules(std::move(rules));
    while (leases.Deliver()) {
    }
    quotas.Tick();
  }
  ~Fixture() {
    while (leases.Deliver(test::FakeLeases::Answer::kLostBefore)) {
    }
  }
  void SetRules(std::vector<QuotaRule> rules) {
    auto made = QuotaRules::Make(std::move(rules));
    REQUIRE(made.ok());
    quotas.SetRules(*made);
  }
  absl::StatusOr<Admission> Admit() { return quotas.Admit(kScopes); }
  absl::StatusOr<Reservation> Reserve(Admission& admission, std::int64_t input, std::int64_t output) {
    absl::StatusOr<Reservation> result = base::Unknown("not called");
    quotas.Reserve(admission, input, output, [&](absl::StatusOr<Reservation> r) { result = std::move(r); });
    return result;
  }
  absl::StatusOr<Extension> Extend(Reservation& reservation, std::int64_t want) {
    absl::StatusOr<Extension> result = base::Unknown("not called");
    quotas.Extend(reservation, want, [&](absl::StatusOr<Extension> e) { result = std::move(e); });
    return result;
  }
  // A whole request; its status, or OK when it was served.
  absl::Status Serve(std::int64_t input, std::int64_t output) {
    TG_ASSIGN(Admission admission, Admit());
    TG_ASSIGN(Reservation reservation, Reserve(admission, input, output));
    reservation.MarkRecorded();
    quotas.Settle(reservation, Used(input, reservation.output_tokens()));
    return absl::OkStatus();
  }
  void Advance(std::chrono::microseconds by) {
    clock.Advance(by);
    quotas.Tick();
  }

  base::ManualClock clock{std::chrono::sys_days(std::chrono::year(2026) / 11 / 25) + std::chrono::hours(22)};
  test::FakeLeaseStore store;
  Holder holder{base::InstanceId::New(), 1};
  test::FakeLeases leases;
  Quotas quotas;
};

}  // namespace tollgate::metering
