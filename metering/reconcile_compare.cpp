// The record's message is the truth, and what stands beside it: its own columns say whose it is, its REQUEST of which model, the price book
// what a token costs. Usage and transfer must repeat all of it, for all of it is what bills are grouped and priced by.
//
// Tested by tests/metering/reconcile_postgres_test.cpp and usage_postgres_test.cpp.
#include "metering/reconcile_compare.h"

#include <initializer_list>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/adapter_names.h"
#include "base/money.h"
#include "metering/books.h"

namespace tollgate::metering {
namespace {

// SQL: the names, with commas between, of those conditions that hold.
std::string NamesOf(std::initializer_list<std::pair<std::string_view, std::string_view>> conditions) {
  std::string out = "concat_ws(', '";
  for (const auto& [name, condition] : conditions) out += fmt::format(", CASE WHEN {} THEN '{}' END", condition, name);
  return out + ")";
}

const std::string kGuardUsage = fmt::format(
    "SELECT string_agg(format('%s %s %s/%s/%s %s@%s%s', part, model, input_tokens, cached_input_tokens, output_tokens, amount_nanos, "
    "price_version, currency), ', ' ORDER BY part) AS lines, count(*) AS rows, sum(input_tokens::int8 + output_tokens)::int8 AS tokens, "
    "string_agg(DISTINCT nullif({}, ''), ', ') AS others "
    "FROM metering.usage gu WHERE request_id = r.request_id AND attempt = greatest(r.attempt, 1) AND part > 0",
    NamesOf({{"org", "gu.org_id IS DISTINCT FROM r.org_id"},
             {"team", "gu.team_id IS DISTINCT FROM r.team_id"},
             {"project", "gu.project_id IS DISTINCT FROM r.project_id"},
             {"key", "gu.key_id IS DISTINCT FROM r.key_id"},
             {"end user", "gu.end_user_hmac IS DISTINCT FROM u.end_user_hmac"},
             {"time", "gu.at_us IS DISTINCT FROM u.at_us"}}));
const std::string kGuardTransfers = fmt::format(
    "SELECT string_agg(format('%s %s/%s/%s %s@%s%s', part, input_tokens::int8 + cached_input_tokens, cached_input_tokens, output_tokens, "
    "amount_nanos, price_version, currency), ', ' ORDER BY part) AS lines, count(*) AS rows, "
    "sum(input_tokens::int8 + cached_input_tokens + output_tokens)::int8 AS tokens, string_agg(DISTINCT nullif({}, ''), ', ') AS others "
    "FROM metering.transfer gt WHERE request_id = r.request_id AND attempt = greatest(r.attempt, 1) AND part > 0 AND entry = 0",
    NamesOf({{"org", "gt.org_id IS DISTINCT FROM r.org_id"},
             {"team", "gt.team_id IS DISTINCT FROM r.team_id"},
             {"kind", "gt.kind <> 'guard'"},
             {"account", "(gt.debit, gt.credit) <> ('team', 'platform')"},
             {"time", "gt.at_us IS DISTINCT FROM u.at_us"}}));

std::string Counts(std::int64_t input, std::int64_t cached, std::int64_t output, std::int64_t amount) {
  return fmt::format("input {} (cached {}), output {}, amount {}", input, cached, output, base::FormatMoney({amount}));
}

std::int64_t Int(const Compared& one, ReconciledColumn column) { return one.rows.Int(one.row, column); }
const std::string& Text(const Compared& one, ReconciledColumn column) { return one.rows.Text(one.row, column); }
bool IsNull(const Compared& one, ReconciledColumn column) { return one.rows.IsNull(one.row, column); }

// An ABORT that somebody else writes, whose clock is behind, falls into the time of its REQUEST.
bool IsInTime(const Compared& one) {
  const std::int64_t at = Int(one, kUsageAt), wall = Int(one, kWall);
  return at == wall || (Int(one, kKind) == v1::RECORD_KIND_ABORT && one.begun != nullptr && at > wall && at == one.begun->wall_us);
}

// What is wrong with whose the usage row is, of what model and of when.
std::string OwnerDifference(const Compared& one) {
  if (const std::string& others = Text(one, kUsageOthers); !others.empty()) return fmt::format("the usage row has another {}", others);
  if (one.rows.Bytes(one.row, kUsageEndUser) != one.end_user_hmac) return "the usage row has another end user";
  if (one.begun == nullptr) return "there is no REQUEST record";
  if (!one.begun->model) return "its REQUEST record cannot be read";
  if (Text(one, kUsageModel) != *one.begun->model)
    return fmt::format("the usage row is of model {}, the request of {}", Text(one, kUsageModel), *one.begun->model);
  return IsInTime(one) ? "" : "the usage row is of another time";
}

// What is wrong with the usage row of a record, if anything.
std::string UsageDifference(const Compared& one) {
  const v1::TokenCounts& tokens = one.end.tokens();
  if (IsNull(one, kUsageLog)) return tokens.input() + tokens.output() == 0 ? "" : "there is no usage row";
  if (Int(one, kUsageLog) != Int(one, kLog) || Int(one, kUsageIndex) != Int(one, kIndex))
    return fmt::format("the usage row belongs to record {}/{}", Int(one, kUsageLog), Int(one, kUsageIndex));
  if (Int(one, kUsageInput) != tokens.input() || Int(one, kUsageCached) != tokens.cached_input() ||
      Int(one, kUsageOutput) != tokens.output() || Int(one, kUsageDelivered) != tokens.delivered() ||
      Int(one, kUsageAmount) != one.end.amount_nanos()) {
    return fmt::format("the usage row says {}",
                       Counts(Int(one, kUsageInput), Int(one, kUsageCached), Int(one, kUsageOutput), Int(one, kUsageAmount)));
  }
  if (Int(one, kUsageDiscarded) != tokens.discarded()) return fmt::format("the usage row says discarded {}", Int(one, kUsageDiscarded));
  if (Int(one, kUsagePrice) != one.end.price().version() || Text(one, kUsageCurrency) != one.end.price().currency())
    return fmt::format("the usage row has price version {} in {}", Int(one, kUsagePrice), Text(one, kUsageCurrency));
  return OwnerDifference(one);
}

std::string TransferDifference(const Compared& one) {
  const v1::TokenCounts& tokens = one.end.tokens();
  const bool charged = tokens.input() + tokens.output() > 0;
  if (IsNull(one, kChargeInput)) return charged ? "there is no transfer" : "";
  if (!charged) return "there is a transfer without tokens";
  if (Int(one, kChargeInput) != tokens.input() - tokens.cached_input() || Int(one, kChargeCached) != tokens.cached_input() ||
      Int(one, kChargeOutput) != tokens.output() || Int(one, kChargeAmount) != one.end.amount_nanos()) {
    const std::int64_t cached = Int(one, kChargeCached);
    return fmt::format("the transfer says {}",
                       Counts(Int(one, kChargeInput) + cached, cached, Int(one, kChargeOutput), Int(one, kChargeAmount)));
  }
  if (Int(one, kChargeDiscarded) != tokens.discarded()) return fmt::format("the transfer says discarded {}", Int(one, kChargeDiscarded));
  if (Int(one, kChargePrice) != one.end.price().version()) return fmt::format("the transfer has price version {}", Int(one, kChargePrice));
  const std::string& others = Text(one, kChargeOthers);
  return others.empty() ? "" : fmt::format("the transfer has another {}", others);
}

// The amount follows from the counts and the price that the book has under that version, which is the model's, or of a model with
// adapters its base's.
std::string PriceDifference(const Compared& one, const v1::PinnedPrice& named, const std::string& model, const v1::TokenCounts& tokens,
                            std::int64_t nanos) {
  const auto line = one.prices.find(named.version());
  if (line == one.prices.end()) return fmt::format("the price book has no version {}", named.version());
  const auto& [of, price] = line->second;
  if (price.currency() != named.currency()) return fmt::format("price version {} is in {}", named.version(), price.currency());
  if (of != model && of != base::SplitAdapters(model).base)
    return fmt::format("price version {} is of model {}, not of {}", named.version(), of, model);
  const auto amount = AmountOf(price, tokens);
  if (!amount.ok()) return base::Message(amount.status());
  return amount->nanos == nanos ? "" : fmt::format("by its price it costs {}", base::FormatMoney(*amount));
}

std::string AmountDifference(const Compared& one) {
  if (IsNull(one, kUsageLog)) return "";
  return PriceDifference(one, one.end.price(), Text(one, kUsageModel), one.end.tokens(), one.end.amount_nanos());
}

// What is wrong with what guard models used, if anything: the rows of both tables repeat the record's lines, whose amounts follow from
// their own prices.
std::string GuardDifference(const Compared& one) {
  std::string usage, transfers;
  int part = 0;
  for (const v1::GuardUsage& guard : one.end.guard_usage()) {
    ++part;
    const v1::TokenCounts& tokens = guard.tokens();
    const std::string wrong = PriceDifference(one, guard.price(), guard.model(), tokens, guard.amount_nanos());
    if (!wrong.empty()) return fmt::format("guard {}: {}", guard.model(), wrong);
    const std::string counts = fmt::format("{}/{}/{} {}@{}{}", tokens.input(), tokens.cached_input(), tokens.output(), guard.amount_nanos(),
                                           guard.price().version(), guard.price().currency());
    usage += fmt::format("{}{} {} {}", usage.empty() ? "" : ", ", part, guard.model(), counts);
    if (guard.amount_nanos() > 0) transfers += fmt::format("{}{} {}", transfers.empty() ? "" : ", ", part, counts);
  }
  if (Text(one, kGuardLines) != usage) return fmt::format("of guards it says \"{}\", the usage rows \"{}\"", usage, Text(one, kGuardLines));
  if (Text(one, kGuardCharges) != transfers)
    return fmt::format("of guards it says \"{}\", the transfers \"{}\"", transfers, Text(one, kGuardCharges));
  if (const std::string& others = Text(one, kGuardOthers); !others.empty())
    return fmt::format("a guard's usage row has another {}", others);
  if (const std::string& others = Text(one, kGuardChargeOthers); !others.empty())
    return fmt::format("a guard's transfer has another {}", others);
  return "";
}

}  // namespace

const std::string kRecords = fmt::format(
    "SELECT r.log_id, r.leaf_index, r.message, coalesce(r.request_id::text, ''), r.kind, r.wall_us, "
    "u.log_id, u.leaf_index, u.input_tokens, u.cached_input_tokens, u.output_tokens, u.delivered_tokens, u.discarded_tokens, "
    "u.amount_nanos, u.price_version, u.currency, u.model, u.end_user_hmac, u.at_us, {}, "
    "t.input_tokens, t.cached_input_tokens, t.output_tokens, t.discarded_tokens, t.amount_nanos, t.price_version, {}, "
    "coalesce(g.lines, ''), coalesce(g.rows, 0), coalesce(g.tokens, 0), coalesce(g.others, ''), "
    "coalesce(h.lines, ''), coalesce(h.rows, 0), coalesce(h.tokens, 0), coalesce(h.others, '') "
    "FROM (SELECT * FROM audit.record WHERE kind IN (4, 5) AND wall_us >= $1::int8 AND wall_us < $2::int8 "
    "AND day BETWEEN date '1970-01-01' + ($1::int8 / 86400000000)::int4 AND date '1970-01-01' + ($2::int8 / 86400000000)::int4 "
    "AND (leaf_index, log_id) > ($3::int8, $4::int2) AND leaf_index <= $6::int8 ORDER BY leaf_index, log_id LIMIT $5::int8) r "
    "LEFT JOIN LATERAL (SELECT * FROM metering.usage "
    "WHERE request_id = r.request_id AND attempt = greatest(r.attempt, 1) AND part = 0 LIMIT 1) u ON true "
    "LEFT JOIN LATERAL (SELECT * FROM metering.transfer "
    "WHERE request_id = r.request_id AND attempt = greatest(r.attempt, 1) AND part = 0 AND entry = 0 LIMIT 1) t ON true "
    "LEFT JOIN LATERAL ({}) g ON true LEFT JOIN LATERAL ({}) h ON true ORDER BY r.leaf_index, r.log_id",
    NamesOf({{"org", "u.org_id IS DISTINCT FROM r.org_id"},
             {"team", "u.team_id IS DISTINCT FROM r.team_id"},
             {"project", "u.project_id IS DISTINCT FROM r.project_id"},
             {"key", "u.key_id IS DISTINCT FROM r.key_id"}}),
    NamesOf({{"org", "t.org_id IS DISTINCT FROM r.org_id"},
             {"team", "t.team_id IS DISTINCT FROM r.team_id"},
             {"currency", "t.currency IS DISTINCT FROM u.currency"},
             {"kind", "t.kind <> 'usage'"},
             {"account", "(t.debit, t.credit) <> ('team', 'platform')"},
             {"time", "t.at_us IS DISTINCT FROM u.at_us"}}),
    kGuardUsage, kGuardTransfers);

std::string DifferenceOf(const Compared& one) {
  std::string what = UsageDifference(one);
  if (what.empty()) what = TransferDifference(one);
  if (what.empty()) what = AmountDifference(one);
  if (what.empty()) what = GuardDifference(one);
  if (what.empty()) return what;
  const v1::TokenCounts& tokens = one.end.tokens();
  return fmt::format("request {}, record {}/{}: the record says {}; {}", Text(one, kRequest), Int(one, kLog), Int(one, kIndex),
                     Counts(tokens.input(), tokens.cached_input(), tokens.output(), one.end.amount_nanos()), what);
}

}  // namespace tollgate::metering
