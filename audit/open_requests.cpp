// The head keeps `open_from`, the lowest index that an open request can have, so that only the log's young end is read: first kinds and
// request ids in chunks, then the messages of the requests that are still open and of their last segments. Both ask the partitions of few
// days (days.h): a log is dense, so that a chunk that is whole needs no other, and it says of which days its records are.
// A takeover may die at any point and be done again by somebody else: what it has closed is terminal and is not found again.
// Tested by tests/audit/recovery_test.cpp.
#include "audit/open_requests.h"

#include <algorithm>
#include <map>
#include <thread>

#include <fmt/format.h>

#include "audit/days.h"
#include "audit/key_chain.h"
#include "audit/record_columns.h"
#include "base/diagnostics.h"

namespace tollgate::audit {
namespace {

constexpr std::int64_t kChunk = 20'000;
constexpr std::size_t kCloseChunk = 256;
constexpr int kSuspectTimes = 3;

struct Seen {
  std::int64_t request_index = 0;
  std::int64_t segment_index = -1;
  std::int64_t segments = 0;
  std::int64_t attempt = 1;
  std::string first_day, last_day;  // Of the REQUEST and the last SEGMENT.
};

constexpr const char* kColumnsSeen = "leaf_index, kind, request_id, attempt, day";

// Whether a record stands at each index from `at` to before `end`.
bool Covers(const base::Rows& rows, std::int64_t at, std::int64_t end) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows.Int(i, 0) > at) return false;
    if (rows.Int(i, 0) == at) ++at;
  }
  return at >= end;
}

void Note(const base::Rows& rows, std::map<std::string, Seen>& open) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto kind = static_cast<v1::RecordKind>(rows.Int(i, 1));
    if (kind < v1::RECORD_KIND_REQUEST || kind > v1::RECORD_KIND_ABORT) continue;
    const std::string& request = rows.Text(i, 2);
    if (kind == v1::RECORD_KIND_REQUEST) {
      open[request] = Seen{rows.Int(i, 0), -1, 0, std::max<std::int64_t>(1, rows.Int(i, 3)), rows.Text(i, 4), rows.Text(i, 4)};
    } else if (IsTerminal(kind)) {
      open.erase(request);
    } else if (const auto found = open.find(request); found != open.end()) {
      found->second.segment_index = rows.Int(i, 0);
      found->second.first_day = std::min(found->second.first_day, rows.Text(i, 4));
      found->second.last_day = std::max(found->second.last_day, rows.Text(i, 4));
      ++found->second.segments;
      found->second.attempt = std::max(found->second.attempt, rows.Int(i, 3));
    }
  }
}

// What to read of a log, and of which days it is.
struct Wanted {
  std::int32_t log_id = 0;
  std::vector<std::int64_t> indices;
  std::string first_day = "infinity", last_day;
};

absl::StatusOr<std::map<std::int64_t, v1::Record>> Messages(base::Session& session, const Wanted& wanted) {
  static const std::string kSql = fmt::format(
      "SELECT leaf_index, message, {} FROM audit.record WHERE log_id = $1::int2 AND leaf_index = ANY($2::int8[]) "
      "AND day BETWEEN $3::date AND $4::date",
      kColumnNames);
  const std::vector<std::int64_t>& indices = wanted.indices;
  std::map<std::int64_t, v1::Record> out;
  for (std::size_t at = 0; at < indices.size(); at += 1000) {
    std::vector<base::Value> some(indices.begin() + static_cast<std::ptrdiff_t>(at),
                                  indices.begin() + static_cast<std::ptrdiff_t>(std::min(indices.size(), at + 1000)));
    base::Rows rows;
    TG_RETURN_IF_ERROR(session.InTransaction("read open requests", [&](base::Session& in) -> absl::Status {
      TG_RETURN_IF_ERROR(PlanForValues(in));
      TG_ASSIGN(rows,
                in.Run("read open requests", kSql, {std::int64_t{wanted.log_id}, base::ArrayOf(some), wanted.first_day, wanted.last_day}));
      return absl::OkStatus();
    }));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::string which = fmt::format("record {}/{}", wanted.log_id, rows.Int(i, 0));
      out[rows.Int(i, 0)] = RecordOrColumns(ColumnsOf(rows, i, 2), rows.Bytes(i, 1), which);
    }
  }
  return out;
}

OpenRequest OpenOf(std::int32_t log_id, const Seen& seen, const std::map<std::int64_t, v1::Record>& messages) {
  OpenRequest out;
  out.position = {log_id, seen.request_index};
  out.request = messages.at(seen.request_index);
  out.attempt = static_cast<std::uint32_t>(seen.attempt);
  out.segments = seen.segments;
  if (seen.segment_index >= 0) {
    const auto& segment = messages.at(seen.segment_index).segment_body();
    out.output_tokens = segment.output_tokens();
    out.cached_input_tokens = segment.cached_input_tokens();
    out.guard_usage.assign(segment.guard_usage().begin(), segment.guard_usage().end());
    out.delivered_bytes = segment.offset() + segment.size();
  }
  return out;
}

absl::StatusOr<std::vector<OpenRequest>> WithMessages(base::Session& session, std::int32_t log_id,
                                                      const std::map<std::string, Seen>& open) {
  Wanted wanted{.log_id = log_id};
  for (const auto& [request, seen] : open) {
    wanted.indices.push_back(seen.request_index);
    if (seen.segment_index >= 0) wanted.indices.push_back(seen.segment_index);
    wanted.first_day = std::min(wanted.first_day, seen.first_day);  // Digits come before letters.
    wanted.last_day = std::max(wanted.last_day, seen.last_day);
  }
  TG_ASSIGN(const auto messages, Messages(session, wanted));
  std::vector<OpenRequest> out;
  for (const auto& [request, seen] : open) {
    if (!messages.contains(seen.request_index) || (seen.segment_index >= 0 && !messages.contains(seen.segment_index))) {
      return base::DataLoss(fmt::format("a record of request {} is missing: run `tollgate audit verify`", request));
    }
    out.push_back(OpenOf(log_id, seen, messages));
  }
  return out;
}

absl::StatusOr<EncodedRow> BareAbort(const OpenRequest& open, const TakeoverOptions& options) {
  Entry entry;
  entry.record = RecoveredAbort(open, base::ToMicros(options.clock->Wall()));
  entry.record.mutable_end()->mutable_tokens()->Clear();
  entry.record.mutable_end()->clear_guard_usage();  // Nor is that billed.
  return Encode(std::move(entry), *options.clock);
}

absl::StatusOr<EncodedRow> SettledAbort(const OpenRequest& open, const TakeoverOptions& options) {
  Entry entry;
  entry.record = RecoveredAbort(open, base::ToMicros(options.clock->Wall()));
  if (options.callbacks->settle) {
    TG_ASSIGN(entry.companions, options.callbacks->settle(open, *entry.record.mutable_end()));
  }
  return Encode(std::move(entry), *options.clock);
}

absl::StatusOr<EncodedRow> AbortRow(const OpenRequest& open, const TakeoverOptions& options) {
  if (!open.readable()) return BareAbort(open, options);
  auto settled = SettledAbort(open, options);
  if (settled.ok() || absl::IsUnavailable(settled.status()) || absl::IsAborted(settled.status())) return settled;
  // One request that nobody can settle must not leave all others of its log open.
  base::Error("audit", "record {}: its request is closed without usage, for it cannot be settled: {}", open.position.ToString(),
              base::Message(settled.status()));
  return BareAbort(open, options);
}

}  // namespace

v1::Record RecoveredAbort(const OpenRequest& open, std::int64_t wall_us) {
  const v1::Record& request = open.request;
  v1::Record record;
  record.set_kind(v1::RECORD_KIND_ABORT);
  record.set_wall_us(wall_us);
  record.set_request_id(request.request_id());
  record.set_attempt(open.attempt);
  record.set_org_id(request.org_id());
  record.set_team_id(request.team_id());
  record.set_project_id(request.project_id());
  record.set_key_id(request.key_id());
  record.set_end_user_hmac(request.end_user_hmac());
  v1::EndBody& end = *record.mutable_end();
  end.set_reason("RECOVERED");
  end.set_recovered(true);
  end.set_delivered_bytes(open.delivered_bytes);
  end.set_total_us(std::max<std::int64_t>(0, wall_us - request.wall_us()));
  if (open.segments > 0) {
    end.mutable_tokens()->set_input(request.request().input_tokens());
    end.mutable_tokens()->set_cached_input(std::clamp<std::int64_t>(open.cached_input_tokens, 0, end.tokens().input()));
    end.mutable_tokens()->set_output(open.output_tokens);
    end.mutable_tokens()->set_delivered(open.output_tokens);
  } else {
    end.mutable_tokens();
  }
  end.mutable_guard_usage()->Assign(open.guard_usage.begin(), open.guard_usage.end());
  end.mutable_price()->set_version(request.request().price().version());
  end.mutable_price()->set_currency(request.request().price().currency());
  return record;
}

absl::StatusOr<std::vector<OpenRequest>> FindOpenRequests(base::Session& session, const Head& head, std::int64_t open_from,
                                                          const std::function<absl::Status()>& keep_alive) {
  static const std::string kSql = fmt::format(
      "SELECT {} FROM audit.record WHERE log_id = $1::int2 AND leaf_index >= $2::int8 AND leaf_index < $3::int8 "
      "AND day >= $4::date ORDER BY leaf_index",
      kColumnsSeen);
  std::map<std::string, Seen> open;
  if (open_from >= head.next_index) return std::vector<OpenRequest>();
  TG_ASSIGN(const std::int64_t now, PostgresTime(session));
  for (std::int64_t at = open_from; at < head.next_index; at += kChunk) {
    const std::int64_t end = std::min(head.next_index, at + kChunk);
    base::Rows rows;
    TG_RETURN_IF_ERROR(session.InTransaction("look for open requests", [&](base::Session& in) -> absl::Status {
      TG_RETURN_IF_ERROR(PlanForValues(in));
      TG_ASSIGN(rows, RunLatestFirst(in, "look for open requests", kSql, {std::int64_t{head.log_id}, at, end}, DayOf(base::FromMicros(now)),
                                     [&](const base::Rows& found) { return Covers(found, at, end); }));
      return absl::OkStatus();
    }));
    Note(rows, open);
    TG_RETURN_IF_ERROR(keep_alive());
  }
  TG_ASSIGN(auto out, WithMessages(session, head.log_id, open));
  std::sort(out.begin(), out.end(), [](const OpenRequest& a, const OpenRequest& b) { return a.position < b.position; });
  return out;
}

absl::StatusOr<OpenRequest> ReadOpenRequest(base::Session& session, Position position, const base::Uuid& request) {
  static const std::string kSql = fmt::format(
      "SELECT {} FROM audit.record WHERE request_id = $1::uuid AND log_id = $2::int2 AND leaf_index >= $3::int8 "
      "AND kind IN (1, 2, 3, 4, 5) AND day >= $4::date ORDER BY leaf_index",
      kColumnsSeen);
  base::Rows rows;
  TG_RETURN_IF_ERROR(session.InTransaction("read an open request", [&](base::Session& in) -> absl::Status {
    TG_RETURN_IF_ERROR(PlanForValues(in));
    TG_ASSIGN(rows,
              RunSinceMade(in, "read an open request", kSql, {request.ToString(), std::int64_t{position.log_id}, position.index}, request));
    return absl::OkStatus();
  }));
  std::map<std::string, Seen> open;
  Note(rows, open);
  TG_ASSIGN(auto out, WithMessages(session, position.log_id, open));
  if (out.empty()) return base::DataLoss(fmt::format("record {} is missing: run `tollgate audit verify`", position.ToString()));
  return std::move(out.front());
}

absl::Status CheckClock(const ClockCheck* check) {
  const std::string wrong = check != nullptr ? check->Wrong() : "";
  return wrong.empty() ? absl::OkStatus() : base::FailedPrecondition(wrong);
}

Entry InstanceRecord(v1::RecordKind kind, base::InstanceId instance, std::int64_t epoch, const std::string& build) {
  Entry entry;
  entry.record.set_kind(kind);
  v1::InstanceBody& body = *entry.record.mutable_instance();
  body.set_instance_id(instance.Bytes());
  body.set_epoch(epoch);
  body.set_build(build);
  return entry;
}

LogWriter::Result CommitSurely(LogWriter& writer, std::span<const EncodedRow* const> rows, std::int64_t open_from,
                               std::chrono::steady_clock::time_point deadline, const std::function<bool()>& stopping) {
  std::chrono::milliseconds pause{50};
  int suspect = 0;
  while (true) {
    LogWriter::Result result{LogWriter::Fate::kNothing, absl::OkStatus()};
    if (!writer.attached()) {
      const bool doubt = writer.in_doubt();
      result = writer.Attach();
      if (doubt && result.fate == LogWriter::Fate::kDone) return result;
    }
    if (result.fate != LogWriter::Fate::kLost && writer.attached()) {
      result = writer.Commit(rows, open_from);
    }
    using Fate = LogWriter::Fate;
    if (result.fate == Fate::kDone || result.fate == Fate::kLost || result.fate == Fate::kRejected) return result;
    if (result.fate == Fate::kSuspect && ++suspect == kSuspectTimes) return {Fate::kRejected, result.status};
    if (std::chrono::steady_clock::now() + pause > deadline || (stopping && stopping()))
      return {Fate::kNothing, base::Unavailable(base::Message(result.status))};
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::milliseconds(1000));
  }
}

namespace {

struct Closing {
  EncodedRow row;
  const OpenRequest* open = nullptr;  // What it closes; null for START.
};

// The head's `open_from` becomes `open_from` with the last row, and stays at `so_far` until then.
absl::Status CommitChunk(LogWriter& writer, std::span<Closing> chunk, std::int64_t so_far, std::int64_t open_from,
                         const TakeoverOptions& options) {
  std::vector<const EncodedRow*> rows;
  for (const Closing& closing : chunk) rows.push_back(&closing.row);
  const auto result = CommitSurely(writer, rows, open_from, options.deadline, options.stopping);
  if (result.fate != LogWriter::Fate::kRejected) return result.status;
  if (chunk.size() > 1) {
    const std::size_t half = chunk.size() / 2;
    TG_RETURN_IF_ERROR(CommitChunk(writer, chunk.first(half), so_far, so_far, options));
    return CommitChunk(writer, chunk.subspan(half), so_far, open_from, options);
  }
  if (chunk[0].row.companions.empty()) return result.status;
  base::Error("audit", "the usage of request {}, which is being recovered, is refused by the database: {}", chunk[0].row.request.ToString(),
              base::Message(result.status));
  TG_ASSIGN(chunk[0].row, BareAbort(*chunk[0].open, options));
  return CommitChunk(writer, chunk, so_far, open_from, options);
}

}  // namespace

absl::StatusOr<std::int64_t> TakeOver(LogWriter& writer, const Claim& claim, const TakeoverOptions& options) {
  const Head at_claim = writer.head();
  if (const auto attached = writer.Attach(); attached.fate != LogWriter::Fate::kNothing || !attached.status.ok()) return attached.status;
  TG_RETURN_IF_ERROR(CheckClock(options.clock_check));
  const auto keep_alive = [&writer] { return writer.Renew().status; };
  TG_ASSIGN(const auto open, FindOpenRequests(writer.session(), at_claim, claim.open_from, keep_alive));

  TG_ASSIGN(EncodedRow start,
            Encode(InstanceRecord(v1::RECORD_KIND_START, options.instance, at_claim.epoch, options.build), *options.clock));
  std::vector<Closing> chunk;
  chunk.push_back({std::move(start)});
  if (options.also) {
    Entry also;
    also.record = *options.also;
    TG_ASSIGN(EncodedRow row, Encode(std::move(also), *options.clock));
    chunk.push_back({std::move(row)});
  }
  for (std::size_t i = 0; i <= open.size(); ++i) {
    if (chunk.size() >= kCloseChunk || (i == open.size() && !chunk.empty())) {
      const std::int64_t open_from =
          i < open.size() ? open[i].position.index : writer.head().next_index + static_cast<std::int64_t>(chunk.size());
      TG_RETURN_IF_ERROR(CommitChunk(writer, chunk, claim.open_from, open_from, options));
      chunk.clear();
    }
    if (i == open.size()) break;
    TG_ASSIGN(EncodedRow row, AbortRow(open[i], options));
    chunk.push_back({std::move(row), &open[i]});
  }
  return static_cast<std::int64_t>(open.size());
}

}  // namespace tollgate::audit
