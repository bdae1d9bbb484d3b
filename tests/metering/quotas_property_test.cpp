// Random histories of several instances over one store: requests at every stage, lost answers, pauses, crashes and adoptions, windows that
// roll, rules that change, go and come again. After each step no window has more used and held than its rule ever allowed, and nothing that
// was given leaves more used and held than the rule in force allows; at the end every lease is home.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <list>
#include <map>
#include <random>
#include <set>

#include "metering/quotas.h"
#include "tests/support/fake_leases.h"
#include "tests/support/random.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::metering {
namespace {

using namespace std::chrono_literals;
using FakeStore = test::FakeLeaseStore;
using Key = FakeStore::Key;

struct Request {
  Admission admission;
  Reservation reservation;
  std::vector<Hold> holds;
  std::int64_t input = 0, segment_output = 0;  // The latter: on record.
  std::int64_t held = 0;                       // As the test knows it.
  bool reserved = false, recorded = false, extending = false, failed = false;
};

struct Instance {
  Instance(const base::Clock& clock, test::FakeLeaseStore& store, Holder holder)
      : leases(store, clock, holder, true), quotas(clock, leases) {}
  ~Instance() {
    while (leases.Deliver(test::FakeLeases::Answer::kLostBefore)) {
    }
  }
  test::FakeLeases leases;
  Quotas quotas;
  std::list<std::shared_ptr<Request>> requests;
  std::list<Request> orphans;  // Recorded requests that were dropped: open in the log until it is adopted.
  bool fenced = false;
};

class Simulation {
 public:
  // `edits`: that many steps more of a hundred change a rule.
  Simulation(std::uint64_t seed, int instances, int edits = 0) : random_(seed), edits_(edits) {
    const Scope org{Scope::Kind::kOrg, base::Uuid::NewV7(), "acme"}, team{Scope::Kind::kTeam, base::Uuid::NewV7(), "search"};
    scopes_ = {team, org};
    rules_ = {{base::Uuid::NewV7(), org, Meter::kTokens, Window::kMonth, 4000},
              {base::Uuid::NewV7(), team, Meter::kTokens, Window::kMinute, 700},
              {base::Uuid::NewV7(), org, Meter::kTokens, Window::kMinute, 900},
              {base::Uuid::NewV7(), team, Meter::kRequests, Window::kMinute, 25},
              {base::Uuid::NewV7(), team, Meter::kConcurrent, Window::kNone, 40}};
    store_.SetHolders(instances);
    for (int i = 0; i < instances; ++i) Start({base::InstanceId::New(), 1});
  }

  void Run(int steps) {
    for (int i = 0; i < steps; ++i) {
      Step();
      Check();
    }
    Finish();
  }

 private:
  std::int64_t Any(std::int64_t n) { return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n)); }

  void Start(const Holder& holder) {
    instances_.push_back(std::make_unique<Instance>(clock_, store_, holder));
    instances_.back()->quotas.SetRules(InForce());
  }

  void Step() {
    Instance& at = *instances_[static_cast<std::size_t>(Any(static_cast<std::int64_t>(instances_.size())))];
    if (edits_ > 0 && Any(100) < edits_) return Edit();
    const std::int64_t dice = Any(100);
    if (dice < 22) return Begin(at);
    if (dice < 52) return Touch(at);
    if (dice < 75) return static_cast<void>(at.leases.Deliver(Any(12) == 0 ? Lost() : test::FakeLeases::Answer::kDone));
    if (dice < 87) return at.quotas.Tick();
    if (dice < 96) return clock_.Advance(std::chrono::milliseconds(Any(700)));
    if (dice < 97) return clock_.Advance(std::chrono::seconds(Any(Any(20) == 0 ? 86'400 * 20 : 40)));
    if (dice < 99) return Edit();
    if (Any(3) == 0) return Adopt(at);
  }

  test::FakeLeases::Answer Lost() { return Any(2) == 0 ? test::FakeLeases::Answer::kLostBefore : test::FakeLeases::Answer::kLostAfter; }

  void Begin(Instance& at) {
    auto admission = at.quotas.Admit(scopes_);
    if (!admission.ok()) return;
    auto request = std::make_shared<Request>();
    request->admission = *std::move(admission);
    request->input = Any(60);
    at.requests.push_back(request);
    at.quotas.Reserve(request->admission, request->input, Any(20), [this, &at, request](absl::StatusOr<Reservation> r) {
      request->failed = !r.ok();
      if (!r.ok()) return;
      request->reservation = *std::move(r);
      request->reserved = true;
      request->held = request->reservation.tokens();
      request->holds = request->reservation.holds();
      if (request->held > 0) Given(at, *request);
    });
  }

  void Given(const Instance& at, const Request& request) {
    for (const Hold& hold : request.holds) {
      if (!at.fenced && MeterOf(hold.quota) == Meter::kTokens) given_.insert(hold);
    }
  }

  // Something happens to one of the instance's requests.
  void Touch(Instance& at) {
    std::erase_if(at.requests, [](const auto& r) { return r->failed; });
    if (at.requests.empty()) return;
    const auto it = std::next(at.requests.begin(), Any(static_cast<std::int64_t>(at.requests.size())));
    const std::shared_ptr<Request> request = *it;
    if (!request->reserved) {  // It waits; perhaps its client goes away.
      if (Any(10) == 0) at.requests.erase(it);
      return;
    }
    const std::int64_t dice = Any(10);
    if (!request->recorded) {
      if (dice < 7 && !at.fenced) {  // A fenced instance records nothing.
        request->reservation.MarkRecorded();
        request->recorded = true;
      } else {
        if (dice == 9) at.quotas.Release(request->reservation);
        at.requests.erase(it);
      }
      return;
    }
    if (dice < 5 && !request->extending) {
      request->extending = true;
      at.quotas.Extend(request->reservation, 1 + Any(40), [this, &at, request](absl::StatusOr<Extension> e) {
        request->extending = false;
        if (e.ok()) request->held += e->granted;
        if (e.ok() && e->granted > 0) Given(at, *request);
      });
    } else if (dice < 7) {
      if (!at.fenced) request->segment_output = Any(request->held - request->input + 1);
    } else if (dice < 9) {
      if (!at.fenced)
        Settle(at, *request, request->held - request->input - Any(request->held - request->input - request->segment_output + 1));
      at.requests.erase(it);
    } else {  // Its terminal record could not be written: the adopter will.
      at.orphans.push_back(
          {.holds = request->holds, .input = request->input, .segment_output = request->segment_output, .held = request->held});
      at.requests.erase(it);
    }
  }

  void Settle(Instance& at, Request& request, std::int64_t output) {
    Record(at.leases.holder(), request.holds, request.input + output);
    v1::TokenCounts used;
    used.set_input(request.input);
    used.set_output(output);
    at.quotas.Settle(request.reservation, used);
    REQUIRE(request.reservation.state() == Reservation::State::kSettled);
  }

  // The usage row.
  void Record(const Holder& holder, const std::vector<Hold>& holds, std::int64_t tokens) {
    for (const Hold& hold : holds) {
      const std::int64_t n = MeterOf(hold.quota) == Meter::kTokens ? tokens : 1;
      used_[{hold.quota, hold.window_start}] += n;
      used_by_[holder][{Key{hold.quota, hold.window_start}, hold.lease}] += n;
    }
  }

  const QuotaRule& RuleOf(const base::Uuid& quota) const {
    return *std::find_if(rules_.begin(), rules_.end(), [&](const QuotaRule& r) { return r.id == quota; });
  }
  Meter MeterOf(const base::Uuid& quota) const { return RuleOf(quota).meter; }

  std::shared_ptr<const QuotaRules> InForce() const {
    std::vector<QuotaRule> rules;
    for (const QuotaRule& rule : rules_) {
      if (!removed_.contains(rule.id)) rules.push_back(rule);
    }
    return *QuotaRules::Make(rules);
  }

  // An amount changes, or a rule goes, or comes again with another amount.
  void Edit() {
    QuotaRule& rule = rules_[static_cast<std::size_t>(Any(4))];
    const bool was_removed = removed_.erase(rule.id) > 0;
    if (!was_removed && Any(3) == 0) {
      removed_.insert(rule.id);
      went_.insert(rule.id);
    } else {
      rule.amount = std::max<std::int64_t>(0, rule.amount * (50 + Any(was_removed ? 60 : 120)) / 100 + Any(20));
    }
    const auto rules = InForce();
    for (const auto& instance : instances_) instance->quotas.SetRules(rules);
  }

  // The instance is dead, or cut off, and its log adopted: open requests are settled at their last segment, its leases come home. A new
  // life starts; the old one may go on for a while without effect.
  void Adopt(Instance& at) {
    if (at.fenced) return;
    at.fenced = true;
    const Holder holder = at.leases.holder();
    for (const auto& r : at.requests) {
      if (r->recorded && !r->failed) Record(holder, r->holds, r->segment_output == 0 ? 0 : r->input + r->segment_output);
    }
    for (const Request& r : at.orphans) Record(holder, r.holds, r.segment_output == 0 ? 0 : r.input + r.segment_output);
    at.orphans.clear();
    std::map<Key, std::int64_t> used;  // What was drawn from leases that were closed since is told with those.
    for (const auto& [from, n] : used_by_[holder]) {
      if (store_.number(holder, from.first) == from.second) used[from.first] += n;
    }
    store_.ReturnLeases(holder, used);
    Start({holder.instance, holder.epoch + 1});
  }

  void Check() {
    for (const QuotaRule& rule : rules_) {
      if (rule.window == Window::kNone) continue;
      std::int64_t& most = most_[{rule.id, WindowAt(rule.window, clock_.Wall()).start}];
      most = std::max(most, rule.amount);
    }
    std::map<Key, std::int64_t> committed = used_;  // Used, or held by whoever still can use it.
    for (const auto& instance : instances_) {
      if (instance->fenced) continue;
      for (const auto& r : instance->requests) AddHeld(*r, committed);
      for (const Request& r : instance->orphans) AddHeld(r, committed);
    }
    for (const Hold& hold : std::exchange(given_, {})) {
      if (removed_.contains(hold.quota)) continue;
      INFO("the window that begins at " << base::FormatRfc3339(hold.window_start));
      REQUIRE(committed[{hold.quota, hold.window_start}] <= RuleOf(hold.quota).amount);
    }
    auto balances = store_.balances();
    for (const auto& [key, n] : committed) {
      REQUIRE(n <= balances[key]);
    }
    for (const auto& [key, debited] : balances) {
      REQUIRE(debited >= 0);
      REQUIRE(debited <= most_[key]);
    }
  }

  void AddHeld(const Request& r, std::map<Key, std::int64_t>& committed) const {
    for (const Hold& hold : r.holds) committed[{hold.quota, hold.window_start}] += MeterOf(hold.quota) == Meter::kTokens ? r.held : 1;
  }

  void Finish() {
    for (const auto& instance : instances_) {
      for (const auto& r : instance->requests) {
        if (r->recorded && !r->failed && !instance->fenced) Settle(*instance, *r, r->segment_output);
      }
      instance->requests.clear();
    }
    const std::size_t lives = instances_.size();
    for (std::size_t i = 0; i < lives; ++i) Adopt(*instances_[i]);
    Check();
    for (const auto& [key, debited] : store_.balances()) {
      const auto found = used_.find(key);
      const std::int64_t used = found == used_.end() ? 0 : found->second;
      REQUIRE(debited >= used);
      const WindowSpan window = WindowAt(RuleOf(key.quota).window, key.start);
      // Nothing is stranded in a window that goes on, but what of a request without a terminal record was drawn from a lease that was
      // closed meanwhile, because its rule had gone.
      if (window.Holds(clock_.Wall()) && !went_.contains(key.quota)) REQUIRE(debited == used);
    }
  }

  struct Earlier {
    bool operator()(const Hold& a, const Hold& b) const { return std::pair(a.quota, a.window_start) < std::pair(b.quota, b.window_start); }
  };

  std::mt19937_64 random_;
  const int edits_;
  base::ManualClock clock_{std::chrono::sys_days(std::chrono::year(2026) / 11 / 25) + 22h};
  test::FakeLeaseStore store_;
  std::vector<Scope> scopes_;
  std::vector<QuotaRule> rules_;
  std::set<base::Uuid> removed_, went_;  // Of these: now, and ever.
  std::set<Hold, Earlier> given_;        // In what since the last check more was given.
  std::map<Key, std::int64_t> most_;     // The largest amount in force while the window was open.
  std::map<Key, std::int64_t> used_;
  std::map<Holder, std::map<std::pair<Key, std::int32_t>, std::int64_t>> used_by_;  // From which lease.
  std::vector<std::unique_ptr<Instance>> instances_;
};

TEST_CASE("No history of instances, faults, crashes and edits spends more than a window has, and every lease comes home") {
  const std::uint64_t seed = test::Seed();
  for (int i = 0; i < 4 * test::Loops(); ++i) {
    const std::uint64_t run = seed + static_cast<std::uint64_t>(i);
    INFO("TOLLGATE_SEED=" << run);
    Simulation(run, 1 + static_cast<int>(run % 4)).Run(1500);
  }
}

TEST_CASE("However often limits are lowered, removed and set again, nothing is given beyond the amount in force") {
  const std::uint64_t seed = test::Seed();
  for (int i = 0; i < 4 * test::Loops(); ++i) {
    const std::uint64_t run = seed + static_cast<std::uint64_t>(i);
    INFO("TOLLGATE_SEED=" << run);
    Simulation(run, 2 + static_cast<int>(run % 3), 5).Run(1500);
  }
}

// The other half of P8. Instances die now and then, and their leases come home.
TEST_CASE("When demand is enough a budget is spent but for less than one extension step, by however many instances") {
  const std::uint64_t seed = test::Seed();
  for (int i = 0; i < 2 * test::Loops(); ++i) {
    const std::uint64_t run = seed + static_cast<std::uint64_t>(i);
    INFO("TOLLGATE_SEED=" << run);
    std::mt19937_64 random(run);
    const auto any = [&](std::int64_t n) { return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n)); };
    base::ManualClock clock;
    test::FakeLeaseStore store;
    const Scope team{Scope::Kind::kTeam, base::Uuid::NewV7(), "search"};
    const std::int64_t budget = 500 + any(20'000), step = 64;
    const auto rules = *QuotaRules::Make({{base::Uuid::NewV7(), team, Meter::kTokens, Window::kMonth, budget}});
    const Key key{rules->all()[0].id, WindowAt(Window::kMonth, clock.Wall()).start};
    struct Node {
      Node(FakeStore& store, const base::Clock& clock) : leases(store, clock, {base::InstanceId::New(), 1}), quotas(clock, leases) {}
      test::FakeLeases leases;
      Quotas quotas;
      std::int64_t used = 0;
    };
    std::vector<std::unique_ptr<Node>> nodes;
    const auto add = [&] {
      nodes.push_back(std::make_unique<Node>(store, clock));
      nodes.back()->quotas.SetRules(rules);
    };
    const std::int64_t count = 1 + any(8);
    store.SetHolders(static_cast<int>(count));
    while (static_cast<std::int64_t>(nodes.size()) < count) add();
    std::int64_t used = 0;
    int idle_rounds = 0;
    while (idle_rounds < 40) {
      const std::int64_t before = used;
      for (auto& node : nodes) {
        for (std::int64_t n = any(6); n >= 0; --n) {
          auto admission = node->quotas.Admit(std::vector<Scope>{team});
          REQUIRE(admission.ok());
          const std::int64_t input = 1 + any(step - 1);
          std::int64_t got = 0;
          node->quotas.Reserve(*admission, input, 1 + any(step), [&](absl::StatusOr<Reservation> r) {
            if (!r.ok()) return;
            const std::int64_t output = any(2) == 0 ? r->output_tokens() : any(r->output_tokens() + 1);
            v1::TokenCounts tokens;
            tokens.set_input(input);
            tokens.set_output(output);
            node->quotas.Settle(*r, tokens);
            got = input + output;
          });
          used += got;
          node->used += got;
        }
      }
      if (any(30) == 0) {
        auto& dead = nodes[static_cast<std::size_t>(any(count))];
        store.ReturnLeases(dead->leases.holder(), {{key, dead->used}});
        dead = nullptr;
        std::erase(nodes, nullptr);
        add();
      }
      clock.Advance(std::chrono::milliseconds(300));
      for (auto& node : nodes) node->quotas.Tick();
      idle_rounds = used == before ? idle_rounds + 1 : 0;
    }
    REQUIRE(used <= budget);
    REQUIRE(used > budget - step);
  }
}

}  // namespace
}  // namespace tollgate::metering
