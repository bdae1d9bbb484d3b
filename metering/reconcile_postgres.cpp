// The proof of promise P4, in three passes: every terminal record, page by page in the order of their key, with the usage row and the
// charge that belong to it; usage rows whose record is not there; transfers whose usage is not there. Then what the passes have counted.
// Each row is looked at in the pass of its own table, by its own time: what the records do not lead to is found too.
// No statement reads more than a page, or a slice of time that grows and shrinks with what lies in it; one that meets the time limit is
// tried again with less.
// Meanwhile the logs grow. What they had when the work began is known by their heads, and that alone is counted: a record that is later
// than that has its rows in the same transaction, but not in the same pass.
//
// Tested by tests/metering/reconcile_postgres_test.cpp and usage_postgres_test.cpp.
#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "metering/books.h"
#include "metering/reconcile_compare.h"
#include "metering/usage_postgres.h"

namespace tollgate::metering {
namespace {

constexpr std::int64_t kPage = 2'000;
constexpr std::int64_t kIndicesPerRow = 10;          // That a page may pass to find one: others are of other kinds, or of other times.
constexpr std::int64_t kSliceRows = 20'000;          // About as many are looked at in a slice.
constexpr std::uint64_t kFirstSliceUs = 60'000'000;  // A busy minute has that many and more.
constexpr std::uint64_t kSliceMaxUs = std::uint64_t{1} << 50;
constexpr std::int64_t kDayUs = 86'400'000'000;

const std::string kHeads = "SELECT log_id, next_index FROM audit.log_head";
const std::string kNextIndex =
    "SELECT min(leaf_index) FROM audit.record WHERE leaf_index > $3::int8 "
    "AND day BETWEEN date '1970-01-01' + ($1::int8 / 86400000000)::int4 AND date '1970-01-01' + ($2::int8 / 86400000000)::int4";
const std::string kBegun =
    "SELECT request_id, wall_us, message FROM audit.record WHERE request_id = ANY($1::uuid[]) AND kind = 1 "
    "AND day BETWEEN date '1970-01-01' + $2::int4 AND date '1970-01-01' + $3::int4";
const std::string kBegunAnyDay = "SELECT request_id, wall_us, message FROM audit.record WHERE request_id = ANY($1::uuid[]) AND kind = 1";
const std::string kPrices =
    "SELECT price_version, model, input_nanos, cached_input_nanos, output_nanos, currency FROM metering.price "
    "WHERE price_version = ANY($1::int8[])";

// Of the usage rows of $1 to $2 those that no record ends, at that time and in that attempt: how many, of how many tokens, the first; and
// those that one ends and that were there when the work began ($3: logs, $4: how long they were): all of them, those whose record is not
// from before $5, and those that are charged; and how many there are at all. A record's time is its usage's; that of an ABORT whose
// writer's clock was behind, at most a day, is earlier, and the usage's is the REQUEST's. A look at the record for each row, never a join:
// that could read all of the records.
const std::string kUsage =
    "SELECT count(*) FILTER (WHERE f.wall_us IS NULL), coalesce(sum(x.tokens) FILTER (WHERE f.wall_us IS NULL), 0)::int8, "
    "min(format('%s, attempt %s, part %s', u.request_id, u.attempt, u.part)) FILTER (WHERE f.wall_us IS NULL), "
    "count(*) FILTER (WHERE x.early AND f.wall_us IS NOT NULL), "
    "coalesce(sum(x.tokens) FILTER (WHERE x.early AND f.wall_us IS NOT NULL), 0)::int8, "
    "count(*) FILTER (WHERE x.early AND f.wall_us >= $5::int8), "
    "coalesce(sum(x.tokens) FILTER (WHERE x.early AND f.wall_us >= $5::int8), 0)::int8, "
    "count(*) FILTER (WHERE x.early AND f.wall_us IS NOT NULL AND u.amount_nanos > 0), count(*) "
    "FROM metering.usage u LEFT JOIN unnest($3::int8[], $4::int8[]) AS head (log, size) ON head.log = u.log_id "
    "CROSS JOIN LATERAL (SELECT u.input_tokens::int8 + u.output_tokens AS tokens, u.leaf_index < head.size AS early) x "
    "LEFT JOIN LATERAL (SELECT r.wall_us FROM audit.record r WHERE r.log_id = u.log_id AND r.leaf_index = u.leaf_index "
    "AND r.request_id = u.request_id AND r.kind IN (4, 5) AND greatest(r.attempt, 1) = u.attempt "
    "AND r.day BETWEEN date '1970-01-01' + ($1::int8 / 86400000000)::int4 - 1 AND date '1970-01-01' + ($2::int8 / 86400000000)::int4 "
    "AND (r.wall_us = u.at_us OR (r.kind = 5 AND r.wall_us < u.at_us AND (SELECT count(*) FROM audit.record q "
    "WHERE q.request_id = u.request_id AND q.kind = 1 AND q.wall_us = u.at_us "
    "AND q.day BETWEEN date '1970-01-01' + ($1::int8 / 86400000000)::int4 AND date '1970-01-01' + ($2::int8 / 86400000000)::int4) > 0)) "
    "LIMIT 1) f ON true WHERE u.at_us >= $1::int8 AND u.at_us < $2::int8";

// The same of transfers and the usage that they charge, which is of the same time: how many have none, of how many tokens, the first;
// those of usage that was there when the work began; and how many there are at all.
const std::string kTransfers =
    "SELECT count(*) FILTER (WHERE u.request_id IS NULL), coalesce(sum(x.tokens) FILTER (WHERE u.request_id IS NULL), 0)::int8, "
    "min(format('%s, attempt %s, part %s, entry %s', t.request_id, t.attempt, t.part, t.entry)) FILTER (WHERE u.request_id IS NULL), "
    "count(*) FILTER (WHERE u.leaf_index < head.size), coalesce(sum(x.tokens) FILTER (WHERE u.leaf_index < head.size), 0)::int8, count(*) "
    "FROM metering.transfer t CROSS JOIN LATERAL (SELECT t.input_tokens::int8 + t.cached_input_tokens + t.output_tokens AS tokens) x "
    "LEFT JOIN metering.usage u ON u.request_id = t.request_id AND u.attempt = t.attempt AND u.part = t.part AND t.entry = 0 "
    "AND u.at_us = t.at_us AND u.at_us >= $1::int8 AND u.at_us < $2::int8 "
    "LEFT JOIN unnest($3::int8[], $4::int8[]) AS head (log, size) ON head.log = u.log_id "
    "WHERE t.at_us >= $1::int8 AND t.at_us < $2::int8";

bool TookTooLong(const absl::Status& status) { return base::SqlStateOf(status) == "57014"; }

struct Held {
  std::int64_t rows = 0;
  std::int64_t tokens = 0;
  bool operator==(const Held&) const = default;
};

class Reconciler {
 public:
  Reconciler(base::Session& session, std::int64_t from_us, std::int64_t to_us, const std::function<absl::Status()>& keep_going)
      : session_(session), from_us_(from_us), to_us_(to_us), keep_going_(keep_going) {}

  absl::Status Run() {
    TG_RETURN_IF_ERROR(ReadHeads());
    TG_RETURN_IF_ERROR(CompareRecords());
    TG_RETURN_IF_ERROR(BySlices([this](std::int64_t from, std::int64_t to) { return LookForUsage(from, to); }));
    TG_RETURN_IF_ERROR(BySlices([this](std::int64_t from, std::int64_t to) { return LookForTransfers(from, to); }));
    CompareTotals();
    return absl::OkStatus();
  }
  const Reconciliation& sum() const { return sum_; }

 private:
  absl::Status ReadHeads();
  absl::Status CompareRecords();
  // The terminal records behind (index, log) to the index `last`, at most so many. What fails has changed nothing.
  absl::StatusOr<base::Rows> ComparePage(std::int64_t index, std::int64_t log, std::int64_t last, std::int64_t page);
  absl::Status ReadPrices(const std::vector<v1::Record>& records);
  absl::StatusOr<std::map<std::string, Begun>> ReadBegun(const base::Rows& rows);
  absl::Status AddBegun(const std::string& sql, const std::set<std::string>& requests, const base::Params& days,
                        std::map<std::string, Begun>& out);
  void Count(const base::Rows& rows, std::size_t r, const v1::EndBody& end);
  // Looks at all of the period, slice by slice. `look` gives how many rows lie in one; what fails has changed nothing.
  absl::Status BySlices(const std::function<absl::StatusOr<std::int64_t>(std::int64_t from, std::int64_t to)>& look);
  absl::StatusOr<std::int64_t> LookForUsage(std::int64_t from, std::int64_t to);
  absl::StatusOr<std::int64_t> LookForTransfers(std::int64_t from, std::int64_t to);
  void CompareTotals();
  absl::Status KeepGoing() const { return keep_going_ ? keep_going_() : absl::OkStatus(); }
  void Differ(std::string text, std::int64_t times = 1) {
    if (sum_.differences == 0) sum_.first_difference = std::move(text);
    sum_.differences += times;
  }

  base::Session& session_;
  const std::int64_t from_us_, to_us_;
  const std::function<absl::Status()>& keep_going_;
  Reconciliation sum_;
  std::map<std::int64_t, std::int64_t> heads_;  // By log: how long it was when the work began.
  base::Value head_logs_, head_sizes_;
  std::map<std::int64_t, PriceLine> prices_;
  Held seen_;       // The usage of the records.
  Held held_;       // What the table of usage has of the same records;
  Held charged_;    // and what of it, of whatever record, is charged.
  Held transfers_;  // What the ledger has.
};

absl::Status Reconciler::ReadHeads() {
  TG_ASSIGN(const base::Rows rows, session_.Run("read the heads of the logs", kHeads));
  std::vector<base::Value> logs, sizes;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    heads_[rows.Int(r, 0)] = rows.Int(r, 1);
    logs.emplace_back(rows.Int(r, 0));
    sizes.emplace_back(rows.Int(r, 1));
  }
  head_logs_ = base::ArrayOf(logs);
  head_sizes_ = base::ArrayOf(sizes);
  return absl::OkStatus();
}

absl::Status Reconciler::CompareRecords() {
  std::int64_t index = 0, log = -1, page = kPage;  // Where the page before ended, in the order of the records' key.
  while (true) {
    const std::int64_t last = std::min(index, INT64_MAX - kIndicesPerRow * page) + kIndicesPerRow * page;
    const absl::StatusOr<base::Rows> rows = ComparePage(index, log, last, page);
    TG_RETURN_IF_ERROR(KeepGoing());
    if (TookTooLong(rows.status()) && page > 1) {
      page = std::max<std::int64_t>(1, page / 4);
      continue;
    }
    TG_RETURN_IF_ERROR(rows.status());
    if (static_cast<std::int64_t>(rows->size()) == page) {
      index = rows->Int(rows->size() - 1, kIndex);
      log = rows->Int(rows->size() - 1, kLog);
      continue;
    }
    TG_ASSIGN(const base::Rows next, session_.Run("reconcile records", kNextIndex, {from_us_, to_us_, last}));
    if (next.IsNull(0, 0)) return absl::OkStatus();
    index = next.Int(0, 0);
    log = -1;
  }
}

absl::StatusOr<base::Rows> Reconciler::ComparePage(std::int64_t index, std::int64_t log, std::int64_t last, std::int64_t page) {
  TG_ASSIGN(base::Rows rows, session_.Run("reconcile records", kRecords, {from_us_, to_us_, index, log, page, last}));
  std::vector<v1::Record> records(rows.size());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (!records[r].ParseFromString(rows.Bytes(r, kMessage))) records[r].Clear();
  }
  TG_RETURN_IF_ERROR(ReadPrices(records));
  TG_ASSIGN(const auto begun, ReadBegun(rows));
  for (std::size_t r = 0; r < rows.size(); ++r) {
    Count(rows, r, records[r].end());
    if (!records[r].has_end()) {
      Differ(fmt::format("record {}/{} cannot be read", rows.Int(r, kLog), rows.Int(r, kIndex)));
      continue;
    }
    const auto request = begun.find(rows.Text(r, kRequest));
    const Begun* const its = request == begun.end() ? nullptr : &request->second;
    std::string what = DifferenceOf({rows, r, records[r].end(), records[r].end_user_hmac(), its, prices_});
    if (!what.empty()) Differ(std::move(what));
  }
  return rows;
}

// Prices never change: each is read once.
absl::Status Reconciler::ReadPrices(const std::vector<v1::Record>& records) {
  std::set<std::int64_t> versions;
  for (const v1::Record& record : records) {
    versions.insert(record.end().price().version());
    for (const v1::GuardUsage& guard : record.end().guard_usage()) versions.insert(guard.price().version());
  }
  std::erase_if(versions, [this](std::int64_t version) { return version == 0 || prices_.contains(version); });
  if (versions.empty()) return absl::OkStatus();
  const std::vector<base::Value> wanted(versions.begin(), versions.end());
  TG_ASSIGN(const base::Rows rows, session_.Run("reconcile prices", kPrices, {base::ArrayOf(wanted)}));
  for (std::size_t r = 0; r < rows.size(); ++r) {
    PriceLine& line = prices_[rows.Int(r, 0)];
    line.model = rows.Text(r, 1);
    line.price.set_version(rows.Int(r, 0));
    line.price.set_input_nanos_per_1000(rows.Int(r, 2));
    line.price.set_cached_input_nanos_per_1000(rows.Int(r, 3));
    line.price.set_output_nanos_per_1000(rows.Int(r, 4));
    line.price.set_currency(rows.Text(r, 5));
  }
  return absl::OkStatus();
}

absl::Status Reconciler::AddBegun(const std::string& sql, const std::set<std::string>& requests, const base::Params& days,
                                  std::map<std::string, Begun>& out) {
  base::Params params{base::ArrayOf(std::vector<base::Value>(requests.begin(), requests.end()))};
  params.insert(params.end(), days.begin(), days.end());
  TG_ASSIGN(const base::Rows rows, session_.Run("reconcile requests", sql, params));
  for (std::size_t r = 0; r < rows.size(); ++r) {
    Begun& begun = out[rows.Text(r, 0)];
    begun.wall_us = rows.Int(r, 1);
    v1::Record record;
    if (record.ParseFromString(rows.Bytes(r, 2)) && record.has_request()) begun.model = record.request().model();
  }
  return absl::OkStatus();
}

// Most began on the day on which they end, or on the day before: only for the others all days are asked.
absl::StatusOr<std::map<std::string, Begun>> Reconciler::ReadBegun(const base::Rows& rows) {
  std::map<std::string, Begun> out;
  std::set<std::string> requests;
  std::int64_t first = INT64_MAX, last = 0;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (rows.IsNull(r, kUsageLog)) continue;
    requests.insert(rows.Text(r, kRequest));
    first = std::min(first, rows.Int(r, kWall) / kDayUs);
    last = std::max(last, rows.Int(r, kWall) / kDayUs);
  }
  if (requests.empty()) return out;
  TG_RETURN_IF_ERROR(AddBegun(kBegun, requests, {first - 1, last + 1}, out));
  std::erase_if(requests, [&out](const std::string& request) { return out.contains(request); });
  if (!requests.empty()) TG_RETURN_IF_ERROR(AddBegun(kBegunAnyDay, requests, {}, out));
  return out;
}

void Reconciler::Count(const base::Rows& rows, std::size_t r, const v1::EndBody& end) {
  const auto head = heads_.find(rows.Int(r, kLog));
  if (head == heads_.end() || rows.Int(r, kIndex) >= head->second) return;
  ++sum_.records;
  const v1::TokenCounts all = AllTokens(end);
  sum_.record_tokens += all.input() + all.output();
  if (rows.IsNull(r, kUsageAt) || rows.Int(r, kUsageAt) < from_us_ || rows.Int(r, kUsageAt) >= to_us_) return;
  seen_.rows += 1 + rows.Int(r, kGuardRows);
  seen_.tokens += rows.Int(r, kUsageInput) + rows.Int(r, kUsageOutput) + rows.Int(r, kGuardTokens);
}

absl::Status Reconciler::BySlices(const std::function<absl::StatusOr<std::int64_t>(std::int64_t, std::int64_t)>& look) {
  std::uint64_t slice = kFirstSliceUs;
  for (std::int64_t at = from_us_; at < to_us_;) {
    const std::uint64_t begin = static_cast<std::uint64_t>(at);  // Of what callers name every difference fits.
    slice = std::min(slice, static_cast<std::uint64_t>(to_us_) - begin);
    const auto end = static_cast<std::int64_t>(begin + slice);
    const absl::StatusOr<std::int64_t> rows = look(at, end);
    TG_RETURN_IF_ERROR(KeepGoing());
    if (TookTooLong(rows.status()) && slice > 1) {
      slice = std::min(slice / 2, kFirstSliceUs);
      continue;
    }
    TG_RETURN_IF_ERROR(rows.status());
    at = end;
    if (*rows < kSliceRows) slice = std::min(slice * 2, kSliceMaxUs);
    if (*rows > 4 * kSliceRows) slice = std::max<std::uint64_t>(1, slice / 2);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::int64_t> Reconciler::LookForUsage(std::int64_t from, std::int64_t to) {
  TG_ASSIGN(const base::Rows rows, session_.Run("reconcile usage", kUsage, {from, to, head_logs_, head_sizes_, from_us_}));
  if (const std::int64_t lost = rows.Int(0, 0); lost > 0)
    Differ(fmt::format("request {}: there is a usage row but no record that ends it", rows.Text(0, 2)), lost);
  sum_.usages += rows.Int(0, 0) + rows.Int(0, 3);
  sum_.usage_tokens += rows.Int(0, 1) + rows.Int(0, 4);
  held_.rows += rows.Int(0, 5);
  held_.tokens += rows.Int(0, 6);
  charged_.rows += rows.Int(0, 7);
  charged_.tokens += rows.Int(0, 4);  // What is not charged has none.
  return rows.Int(0, 8);
}

absl::StatusOr<std::int64_t> Reconciler::LookForTransfers(std::int64_t from, std::int64_t to) {
  TG_ASSIGN(const base::Rows rows, session_.Run("reconcile transfers", kTransfers, {from, to, head_logs_, head_sizes_}));
  if (const std::int64_t lost = rows.Int(0, 0); lost > 0)
    Differ(fmt::format("request {}: there is a transfer but no usage row that it charges", rows.Text(0, 2)), lost);
  sum_.transfers += rows.Int(0, 0) + rows.Int(0, 3);
  sum_.transfer_tokens += rows.Int(0, 1) + rows.Int(0, 4);
  transfers_.rows += rows.Int(0, 3);
  transfers_.tokens += rows.Int(0, 4);
  return rows.Int(0, 5);
}

// Each row was looked at, and is counted on both sides. Where an index does not give what is there, the sums do not meet.
void Reconciler::CompareTotals() {
  if (sum_.differences > 0) return;
  if (seen_ != held_) {
    Differ(fmt::format("the records have {} usage rows of {} tokens in this period, and their table has {} of {}", seen_.rows, seen_.tokens,
                       held_.rows, held_.tokens));
  } else if (charged_ != transfers_) {
    Differ(fmt::format("the usage rows have {} transfers of {} tokens in this period, and the ledger has {} of {}", charged_.rows,
                       charged_.tokens, transfers_.rows, transfers_.tokens));
  }
}

}  // namespace

absl::StatusOr<Reconciliation> Reconcile(base::Session& session, base::WallTime from, base::WallTime to,
                                         const std::function<absl::Status()>& keep_going) {
  if (from >= to) return base::InvalidArgument("the period to reconcile ends after it begins");
  Reconciler reconciler(session, base::ToMicros(from), base::ToMicros(to), keep_going);
  const absl::Status done = reconciler.Run();
  if (done.ok()) return reconciler.sum();
  if (!TookTooLong(done)) return done;
  return base::MakeStatus(done.code(), base::Message(done) + "; reconcile a shorter period, or while the database has less to do");
}

}  // namespace tollgate::metering
