#include "tests/e2e/support/books.h"

#include <array>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "tests/e2e/support/process.h"

namespace tollgate::e2e {
namespace {

constexpr int kRequest = v1::RECORD_KIND_REQUEST, kDeny = v1::RECORD_KIND_DENY, kSegment = v1::RECORD_KIND_SEGMENT,
              kFinal = v1::RECORD_KIND_FINAL, kAbort = v1::RECORD_KIND_ABORT;

struct OneRequest {
  int requests = 0, denies = 0, terminals = 0;
  std::uint32_t segments = 0;
  std::int64_t released = 0;
  v1::EndBody end;
  std::string problem;
};

base::Rows Must(absl::StatusOr<base::Rows> rows) {
  if (!rows.ok()) throw std::runtime_error(base::Message(rows.status()));
  return *std::move(rows);
}

void Take(OneRequest& one, int kind, const v1::Record& record) {
  if (kind == kRequest) {
    if (one.terminals + one.segments + one.denies > 0) one.problem = "REQUEST is not first";
    ++one.requests;
  } else if (kind == kDeny) {
    ++one.denies;
  } else if (kind == kSegment) {
    if (one.requests == 0 || one.terminals > 0) one.problem = "a SEGMENT outside of its request";
    if (record.segment() != ++one.segments) one.problem = fmt::format("segment {} follows {}", record.segment(), one.segments - 1);
    if (record.segment_body().offset() != one.released) one.problem = "a SEGMENT does not begin where the one before ends";
    one.released += record.segment_body().size();
  } else if (kind == kFinal || kind == kAbort) {
    if (one.requests == 0) one.problem = "a terminal record before its REQUEST";
    ++one.terminals;
    one.end = record.end();
  }
}

}  // namespace

Books::Books(const Installation& installation) : sql_(installation.Sql()) {}

std::int64_t Books::Count(const std::string& sql) { return Must(sql_->Run("count", sql)).Int(0, 0); }

std::int64_t Books::Requests() { return Count("SELECT count(*) FROM audit.record WHERE kind = 1"); }

std::int64_t Books::Open() {
  return Count(
      "SELECT count(*) FROM audit.record r WHERE kind = 1 AND NOT EXISTS "
      "(SELECT FROM audit.record t WHERE t.request_id = r.request_id AND t.kind IN (4, 5))");
}

std::int64_t Books::TokensUsed() { return Count("SELECT coalesce(sum(input_tokens + output_tokens), 0)::int8 FROM metering.usage"); }

std::vector<std::string> Books::Reasons() {
  std::vector<std::string> out;
  const base::Rows rows = Must(sql_->Run("reasons", "SELECT message FROM audit.record WHERE kind IN (4, 5) ORDER BY log_id, leaf_index"));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    v1::Record record;
    record.ParseFromString(rows.Bytes(i, 0));
    out.push_back(record.end().reason());
  }
  return out;
}

std::string Books::Check(int open) {
  std::map<std::string, OneRequest> requests;
  std::map<std::int64_t, std::int64_t> next;
  const base::Rows rows = Must(
      sql_->Run("records", "SELECT log_id, leaf_index, kind, request_id, message, segment FROM audit.record ORDER BY log_id, leaf_index"));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::int64_t log = rows.Int(i, 0);
    if (rows.Int(i, 1) != next[log]++) return fmt::format("log {} has no index {}", log, next[log] - 1);
    v1::Record record;
    const bool read = record.ParseFromString(rows.Bytes(i, 4));
    record.set_segment(static_cast<std::uint32_t>(rows.Int(i, 5)));
    if (!read) return fmt::format("record {}/{} is not what its row says", log, rows.Int(i, 1));
    if (!rows.IsNull(i, 3)) Take(requests[rows.Text(i, 3)], static_cast<int>(rows.Int(i, 2)), record);
  }
  std::map<std::string, std::array<std::int64_t, 3>> usage, ledger;
  const base::Rows used = Must(sql_->Run("usage",
                                         "SELECT request_id || CASE WHEN part = 0 THEN '' ELSE '/' || part END, input_tokens, "
                                         "output_tokens, amount_nanos FROM metering.usage"));
  for (std::size_t i = 0; i < used.size(); ++i) usage[used.Text(i, 0)] = {used.Int(i, 1), used.Int(i, 2), used.Int(i, 3)};
  const base::Rows moved =
      Must(sql_->Run("ledger",
                     "SELECT request_id || CASE WHEN part = 0 THEN '' ELSE '/' || part END, sum(input_tokens + cached_input_tokens)::int8, "
                     "sum(output_tokens)::int8, sum(amount_nanos)::int8 FROM metering.transfer GROUP BY 1"));
  for (std::size_t i = 0; i < moved.size(); ++i) ledger[moved.Text(i, 0)] = {moved.Int(i, 1), moved.Int(i, 2), moved.Int(i, 3)};
  for (const auto& [id, one] : requests) {
    if (!one.problem.empty()) return fmt::format("request {}: {}", id, one.problem);
    if (one.denies > 0) {
      if (one.denies + one.requests + one.terminals != 1) return fmt::format("request {}: a DENY that is not alone", id);
      continue;
    }
    if (one.requests == 0) continue;  // Records that only mention it, such as VIEW.
    if (one.requests != 1) return fmt::format("request {}: {} REQUEST records", id, one.requests);
    if (one.terminals == 0 && open-- > 0) continue;
    if (one.terminals != 1) return fmt::format("request {}: {} terminal records", id, one.terminals);
    const std::array<std::int64_t, 3> end = {one.end.tokens().input(), one.end.tokens().output(), one.end.amount_nanos()};
    if (!usage.contains(id)) return fmt::format("request {}: no usage row", id);
    if (usage[id] != end)
      return fmt::format("request {}: the terminal record says {}, its usage row {}", id, fmt::join(end, "/"), fmt::join(usage[id], "/"));
    const bool free = end[0] + end[1] == 0;
    if (ledger.contains(id) == free) return fmt::format("request {}: {} tokens and {} transfer", id, end[0] + end[1], free ? "a" : "no");
    if (!free && ledger[id] != end)
      return fmt::format("request {}: the terminal record says {}, the ledger {}", id, fmt::join(end, "/"), fmt::join(ledger[id], "/"));
    usage.erase(id);
    ledger.erase(id);
    for (int part = 1; part <= one.end.guard_usage_size(); ++part) {
      const v1::GuardUsage& guard = one.end.guard_usage(part - 1);
      const std::string its = fmt::format("{}/{}", id, part);
      const std::array<std::int64_t, 3> counts = {guard.tokens().input(), guard.tokens().output(), guard.amount_nanos()};
      if (usage[its] != counts || (guard.amount_nanos() > 0 && ledger[its] != counts))
        return fmt::format("request {}: the record says {} of its guard, usage and ledger not", its, fmt::join(counts, "/"));
      usage.erase(its);
      ledger.erase(its);
    }
  }
  if (!usage.empty()) return fmt::format("request {}: a usage row without a terminal record", usage.begin()->first);
  if (!ledger.empty()) return fmt::format("request {}: a transfer without a terminal record", ledger.begin()->first);
  return "";
}

std::string Books::CheckBalances() {
  const base::Rows rows = Must(sql_->Run(
      "balances",
      "WITH held AS (SELECT u.request_id, u.input_tokens + u.output_tokens AS tokens, l.quota_id AS quota, l.window_start_us AS start "
      "FROM metering.usage u, generate_series(0, length(u.leases) / 4 - 1) AS i, metering.lease l "
      "WHERE l.epoch = u.epoch AND l.number = metering.lease_number(u.leases, i)), "
      "used AS (SELECT quota, start, sum(tokens)::int8 AS tokens, count(DISTINCT request_id) AS requests FROM held GROUP BY 1, 2) "
      "SELECT q.meter, b.debited, coalesce(used.tokens, 0), coalesce(used.requests, 0), b.quota_id::text "
      "FROM metering.balance b JOIN directory.quota q ON q.id = b.quota_id "
      "LEFT JOIN used ON used.quota = b.quota_id AND used.start = b.window_start_us"));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const bool tokens = rows.Text(i, 0) == "tokens";
    const std::int64_t used = rows.Int(i, tokens ? 2 : 3);
    if (rows.Int(i, 1) != used)
      return fmt::format("quota {} of {}: {} debited, {} used", rows.Text(i, 4), rows.Text(i, 0), rows.Int(i, 1), used);
  }
  return "";
}

Story StoryOf(Admin& owner, const std::string& request_id) {
  v1::ShowRecordRequest request;
  request.set_request_id(request_id);
  request.set_with_content(true);
  request.set_reason("the end-to-end tests compare");
  const v1::ShowRecordReply reply = owner.Call<v1::Audit>(&v1::Audit::Stub::Show, request);
  Story story;
  for (const v1::StoredRecord& stored : reply.records()) {
    const v1::Record& record = stored.record();
    if (record.kind() == v1::RECORD_KIND_VIEW) continue;
    story.kinds.push_back(v1::RecordKind_Name(record.kind()).substr(12));
    story.text += stored.content().text();
    story.raw.insert(story.raw.end(), stored.content().raw().begin(), stored.content().raw().end());
    const auto text_of = [](const auto& messages) {
      std::string text;
      if (!messages.empty()) {
        for (const std::string& part : messages.rbegin()->parts()) text += part;
      }
      return text;
    };
    if (record.kind() == v1::RECORD_KIND_REQUEST || record.kind() == v1::RECORD_KIND_DENY) {
      story.request = record;
      story.prompt = text_of(stored.content().prompt());
      story.prompt_used = text_of(stored.content().prompt_used());
    }
    if (record.kind() == v1::RECORD_KIND_FINAL || record.kind() == v1::RECORD_KIND_ABORT) story.end = record.end();
  }
  return story;
}

std::string CheckAcknowledged(Admin& owner, Books& books, const std::vector<Answer>& answers, int stories) {
  for (const Answer& answer : answers) {
    if (!answer.done && answer.text.empty()) continue;
    if (answer.request_id.empty()) return "an answer without a request id";
    const std::string where = fmt::format("FROM audit.record WHERE request_id = '{}'", answer.request_id);
    if (answer.done && books.Count(fmt::format("SELECT count(*) {} AND kind = 4", where)) != 1) {
      return fmt::format("request {} was answered, and has no FINAL", answer.request_id);
    }
    if (books.Count(fmt::format("SELECT count(*) {} AND kind = 1", where)) != 1)
      return fmt::format("request {} gave text, and has no REQUEST", answer.request_id);
    if (stories-- <= 0) continue;
    const Story story = StoryOf(owner, answer.request_id);
    const bool good = answer.done ? story.text == answer.text : story.text.starts_with(answer.text);
    if (!good) {
      return fmt::format("request {}: the client got {} bytes{}, on record are {}: {}", answer.request_id, answer.text.size(),
                         answer.done ? " and the end" : "", story.text.size(), fmt::join(story.kinds, " "));
    }
  }
  return "";
}

std::string Reconcile(const Gateway& gateway, const std::string& owner_key) {
  const Finished run =
      RunTollgate({"--admin", fmt::format("127.0.0.1:{}", gateway.admin_port()), "--key", owner_key, "usage", "reconcile"});
  return run.code == 0 ? "" : run.out + run.err;
}

}  // namespace tollgate::e2e
