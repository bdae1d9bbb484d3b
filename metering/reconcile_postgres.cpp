// The proof of promise P4, in three passes: every terminal record, page by page in the order of their key, with the usage row and the
// charge that belong to it; usage rows whose record is not there; transfers whose usage is not there. The record's message is the truth:
// the other sides must repeat its counts, and its amount must follow from its counts and the price book's line of that version.
//
// Tested by tests/metering/usage_postgres_test.cpp.
#include <utility>

#include <fmt/format.h>

#include "metering/books.h"
#include "metering/usage_postgres.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::metering {
namespace {

constexpr std::int64_t kPage = 2'000;

// Columns 3 to 11: usage; 12 to 16: its charge; 18 to 21: the price that the usage names; NULL where there is none. 28 and 29: discarded
// tokens. 22 to 24, and 25 to 27: the guard models' usage and charges, as text that the record's lines are compared with, and what it sums
// to.
const std::string kRecords =
    "SELECT r.log_id, r.leaf_index, r.message, u.log_id, u.leaf_index, u.input_tokens, u.cached_input_tokens, u.output_tokens, "
    "u.delivered_tokens, u.amount_nanos, u.price_version, u.currency, t.input_tokens, t.cached_input_tokens, t.output_tokens, "
    "t.amount_nanos, t.price_version, r.request_id, p.input_nanos, p.cached_input_nanos, p.output_nanos, p.currency, "
    "coalesce(g.lines, ''), coalesce(g.rows, 0), coalesce(g.tokens, 0), coalesce(h.lines, ''), coalesce(h.tokens, 0), coalesce(h.rows, 0), "
    "coalesce(u.discarded_tokens, 0), coalesce(t.discarded_tokens, 0) "
    "FROM audit.record r LEFT JOIN metering.usage u ON u.request_id = r.request_id AND u.attempt = "
    "greatest(r.attempt, 1) AND u.part = 0 "
    "LEFT JOIN metering.transfer t ON t.request_id = r.request_id AND t.attempt = greatest(r.attempt, 1) AND t.part = 0 AND t.entry = 0 "
    "LEFT JOIN LATERAL (SELECT string_agg(format('%s %s %s/%s/%s %s@%s%s', part, model, input_tokens, cached_input_tokens, output_tokens, "
    "amount_nanos, price_version, currency), ', ' ORDER BY part) AS lines, count(*) AS rows, sum(input_tokens + output_tokens)::int8 AS "
    "tokens "
    "FROM metering.usage WHERE request_id = r.request_id AND attempt = greatest(r.attempt, 1) AND part > 0) g ON true "
    "LEFT JOIN LATERAL (SELECT string_agg(format('%s %s/%s/%s %s@%s%s', part, input_tokens + cached_input_tokens, cached_input_tokens, "
    "output_tokens, amount_nanos, price_version, currency), ', ' ORDER BY part) AS lines, count(*) AS rows, "
    "sum(input_tokens + cached_input_tokens + output_tokens)::int8 AS tokens FROM metering.transfer "
    "WHERE request_id = r.request_id AND attempt = greatest(r.attempt, 1) AND part > 0 AND entry = 0) h ON true "
    "LEFT JOIN metering.price p ON p.price_version = u.price_version "
    "WHERE r.kind IN (4, 5) AND r.wall_us >= $1::int8 AND r.wall_us < $2::int8 "
    "AND r.day BETWEEN date '1970-01-01' + ($1::int8 / 86400000000)::int4 AND date '1970-01-01' + ($2::int8 / 86400000000)::int4 "
    "AND (r.leaf_index, r.log_id) > ($3::int8, $4::int2) ORDER BY r.leaf_index, r.log_id LIMIT $5::int8";
const std::string kOrphanUsage =
    "SELECT count(*), coalesce(sum(input_tokens + output_tokens), 0)::int8, min(request_id::text) FROM metering.usage u "
    "WHERE at_us >= $1::int8 AND at_us < $2::int8 AND NOT EXISTS (SELECT FROM audit.record r WHERE r.log_id = u.log_id "
    "AND r.leaf_index = u.leaf_index AND r.request_id = u.request_id AND r.kind IN (4, 5) "
    "AND r.day BETWEEN date '1970-01-01' + ($1::int8 / 86400000000)::int4 AND date '1970-01-01' + ($2::int8 / 86400000000)::int4)";
const std::string kOrphanTransfer =
    "SELECT count(*), coalesce(sum(input_tokens + cached_input_tokens + output_tokens), 0)::int8, min(request_id::text) "
    "FROM metering.transfer t WHERE at_us >= $1::int8 AND at_us < $2::int8 AND NOT EXISTS (SELECT FROM metering.usage u WHERE u.request_id "
    "= t.request_id "
    "AND u.attempt = t.attempt AND u.part = t.part)";

std::string Counts(std::int64_t input, std::int64_t cached, std::int64_t output, std::int64_t amount) {
  return fmt::format("input {} (cached {}), output {}, amount {}", input, cached, output, base::FormatMoney({amount}));
}

void Differ(Reconciliation& sum, std::string text) {
  if (sum.differences++ == 0) sum.first_difference = std::move(text);
}

// What is wrong with the usage row of a record, if anything.
std::string UsageDifference(const base::Rows& rows, std::size_t r, const v1::EndBody& end) {
  const v1::TokenCounts& tokens = end.tokens();
  if (rows.IsNull(r, 3)) return tokens.input() + tokens.output() == 0 ? "" : "there is no usage row";
  if (rows.Int(r, 3) != rows.Int(r, 0) || rows.Int(r, 4) != rows.Int(r, 1)) {
    return fmt::format("the usage row belongs to record {}/{}", rows.Int(r, 3), rows.Int(r, 4));
  }
  if (rows.Int(r, 5) != tokens.input() || rows.Int(r, 6) != tokens.cached_input() || rows.Int(r, 7) != tokens.output() ||
      rows.Int(r, 8) != tokens.delivered() || rows.Int(r, 9) != end.amount_nanos()) {
    return fmt::format("the usage row says {}", Counts(rows.Int(r, 5), rows.Int(r, 6), rows.Int(r, 7), rows.Int(r, 9)));
  }
  if (rows.Int(r, 28) != tokens.discarded()) return fmt::format("the usage row says discarded {}", rows.Int(r, 28));
  if (rows.Int(r, 10) != end.price().version() || rows.Text(r, 11) != end.price().currency()) {
    return fmt::format("the usage row has price version {} in {}", rows.Int(r, 10), rows.Text(r, 11));
  }
  return "";
}

std::string TransferDifference(const base::Rows& rows, std::size_t r, const v1::EndBody& end) {
  const v1::TokenCounts& tokens = end.tokens();
  const bool charged = tokens.input() + tokens.output() > 0;
  if (rows.IsNull(r, 12)) return charged ? "there is no transfer" : "";
  if (!charged) return "there is a transfer without tokens";
  if (rows.Int(r, 12) != tokens.input() - tokens.cached_input() || rows.Int(r, 13) != tokens.cached_input() ||
      rows.Int(r, 14) != tokens.output() || rows.Int(r, 15) != end.amount_nanos()) {
    const std::int64_t input = rows.Int(r, 12) + rows.Int(r, 13);
    return fmt::format("the transfer says {}", Counts(input, rows.Int(r, 13), rows.Int(r, 14), rows.Int(r, 15)));
  }
  if (rows.Int(r, 29) != tokens.discarded()) return fmt::format("the transfer says discarded {}", rows.Int(r, 29));
  if (rows.Int(r, 16) != end.price().version()) return fmt::format("the transfer has price version {}", rows.Int(r, 16));
  return "";
}

// The amount follows from the counts and the price that the book has under that version.
std::string AmountDifference(const base::Rows& rows, std::size_t r, const v1::EndBody& end) {
  if (rows.IsNull(r, 3)) return "";
  if (rows.IsNull(r, 18)) return fmt::format("the price book has no version {}", end.price().version());
  if (rows.Text(r, 21) != end.price().currency()) return fmt::format("price version {} is in {}", end.price().version(), rows.Text(r, 21));
  v1::PinnedPrice price;
  price.set_input_nanos_per_1000(rows.Int(r, 18));
  price.set_cached_input_nanos_per_1000(rows.Int(r, 19));
  price.set_output_nanos_per_1000(rows.Int(r, 20));
  const auto amount = AmountOf(price, end.tokens());
  if (!amount.ok()) return base::Message(amount.status());
  return amount->nanos == end.amount_nanos() ? "" : fmt::format("by its price it costs {}", base::FormatMoney(*amount));
}

// What is wrong with what guard models used, if anything: the rows of both tables repeat the record's lines, whose amounts follow from
// their own prices.
std::string GuardDifference(const base::Rows& rows, std::size_t r, const v1::EndBody& end) {
  std::string usage, transfers;
  int part = 0;
  for (const v1::GuardUsage& guard : end.guard_usage()) {
    ++part;
    const v1::TokenCounts& tokens = guard.tokens();
    const auto amount = AmountOf(guard.price(), tokens);
    if (!amount.ok() || amount->nanos != guard.amount_nanos())
      return fmt::format("guard {} has an amount that is not its tokens'", guard.model());
    const std::string counts = fmt::format("{}/{}/{} {}@{}{}", tokens.input(), tokens.cached_input(), tokens.output(), guard.amount_nanos(),
                                           guard.price().version(), guard.price().currency());
    usage += fmt::format("{}{} {} {}", usage.empty() ? "" : ", ", part, guard.model(), counts);
    if (guard.amount_nanos() > 0) transfers += fmt::format("{}{} {}", transfers.empty() ? "" : ", ", part, counts);
  }
  if (rows.Text(r, 22) != usage) return fmt::format("of guards it says \"{}\", the usage rows \"{}\"", usage, rows.Text(r, 22));
  if (rows.Text(r, 25) != transfers) return fmt::format("of guards it says \"{}\", the transfers \"{}\"", transfers, rows.Text(r, 25));
  return "";
}

void Compare(const base::Rows& rows, std::size_t r, Reconciliation& sum) {
  ++sum.records;
  v1::Record record;
  if (!record.ParseFromString(rows.Bytes(r, 2)) || !record.has_end()) {
    return Differ(sum, fmt::format("record {}/{} cannot be read", rows.Int(r, 0), rows.Int(r, 1)));
  }
  const v1::EndBody& end = record.end();
  const v1::TokenCounts all = AllTokens(end);
  sum.record_tokens += all.input() + all.output();
  sum.usages += rows.Int(r, 23);
  sum.usage_tokens += rows.Int(r, 24);
  sum.transfer_tokens += rows.Int(r, 26);
  sum.transfers += rows.Int(r, 27);
  if (!rows.IsNull(r, 3)) {
    ++sum.usages;
    sum.usage_tokens += rows.Int(r, 5) + rows.Int(r, 7);
  }
  if (!rows.IsNull(r, 12)) {
    ++sum.transfers;
    sum.transfer_tokens += rows.Int(r, 12) + rows.Int(r, 13) + rows.Int(r, 14);
  }
  std::string what = UsageDifference(rows, r, end);
  if (what.empty()) what = TransferDifference(rows, r, end);
  if (what.empty()) what = AmountDifference(rows, r, end);
  if (what.empty()) what = GuardDifference(rows, r, end);
  if (what.empty()) return;
  Differ(sum, fmt::format("request {}, record {}/{}: the record says {}; {}", rows.Text(r, 17), rows.Int(r, 0), rows.Int(r, 1),
                          Counts(end.tokens().input(), end.tokens().cached_input(), end.tokens().output(), end.amount_nanos()), what));
}

}  // namespace

absl::StatusOr<Reconciliation> Reconcile(base::Session& session, base::WallTime from, base::WallTime to,
                                         const std::function<absl::Status()>& keep_going) {
  if (from >= to) return base::InvalidArgument("the period to reconcile ends after it begins");
  Reconciliation sum;
  const std::int64_t from_us = base::ToMicros(from), to_us = base::ToMicros(to);
  std::int64_t log = -1, index = -1;  // Where the page before ended, in the order of the records' key.
  while (true) {
    TG_ASSIGN(const base::Rows rows, session.Run("reconcile records", kRecords, {from_us, to_us, index, log, kPage}));
    for (std::size_t r = 0; r < rows.size(); ++r) Compare(rows, r, sum);
    if (keep_going) TG_RETURN_IF_ERROR(keep_going());
    if (static_cast<std::int64_t>(rows.size()) < kPage) break;
    log = rows.Int(rows.size() - 1, 0);
    index = rows.Int(rows.size() - 1, 1);
  }
  TG_ASSIGN(const base::Rows usage, session.Run("reconcile usage", kOrphanUsage, {from_us, to_us}));
  if (const std::int64_t n = usage.Int(0, 0); n > 0) {
    sum.usages += n;
    sum.usage_tokens += usage.Int(0, 1);
    Differ(sum, fmt::format("request {}: there is a usage row but no record that ends it", usage.Text(0, 2)));
    sum.differences += n - 1;
  }
  if (keep_going) TG_RETURN_IF_ERROR(keep_going());
  TG_ASSIGN(const base::Rows transfers, session.Run("reconcile transfers", kOrphanTransfer, {from_us, to_us}));
  if (const std::int64_t n = transfers.Int(0, 0); n > 0) {
    sum.transfers += n;
    sum.transfer_tokens += transfers.Int(0, 1);
    Differ(sum, fmt::format("request {}: there is a transfer but no usage row", transfers.Text(0, 2)));
    sum.differences += n - 1;
  }
  return sum;
}

}  // namespace tollgate::metering
