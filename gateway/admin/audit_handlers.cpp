// The database itself keeps orgs apart (row-level security by the viewer); the names in a filter are looked up within the caller's reach as
// well. Contents of one request are opened together, behind one VIEW record that names them.
//
// Tested by tests/gateway/admin/services_reading_test.cpp.
#include <fmt/format.h>

#include "audit/verify.h"
#include "gateway/admin/describe.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/text.h"

namespace tollgate::admin {

using directory::Shard;
using identity::Permission;

namespace {

const Shard* ShardById(const directory::Snapshot& snapshot, const std::string& org_id) {
  for (const auto& shard : snapshot.shards()) {
    if (shard->org.id.Bytes() == org_id) return shard.get();
  }
  return nullptr;
}

v1::StoredRecord Describe(const Caller& caller, const audit::Row& row) {
  v1::StoredRecord out;
  out.mutable_position()->set_log_id(row.position.log_id);
  out.mutable_position()->set_index(row.position.index);
  *out.mutable_record() = row.record;
  out.set_leaf_hash(std::string(base::View(row.leaf)));
  out.set_content_stored(row.has_content);
  const v1::Record& record = row.record;
  if (const Shard* shard = record.org_id().empty() ? nullptr : ShardById(caller.snapshot(), record.org_id())) {
    out.set_org(shard->org.name);
    for (const std::string* id : {&record.team_id(), &record.project_id()}) {
      const auto uuid = base::Uuid::FromBytes(*id);
      if (!uuid.ok()) continue;
      const ScopeNames names = NamesOf(*shard, *uuid);
      if (!names.team.empty()) out.set_team(names.team);
      if (!names.project.empty()) out.set_project(names.project);
    }
  }
  if (const auto key = base::Uuid::FromBytes(record.key_id()); key.ok()) {
    const auto place = caller.snapshot().FindKey(base::KeyId(*key));
    if (place.has_value()) out.set_key(place->key->public_id);
  }
  return out;
}

// Puts the contents of the rows that have some, all of one request, beside what is described of them.
absl::Status AddContents(const Caller& caller, const audit::Viewer& viewer, const std::vector<audit::Row>& rows, const std::string& reason,
                         v1::ShowRecordReply& reply) {
  std::vector<audit::Position> positions;
  std::vector<int> at;
  std::string request;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].has_content) continue;
    positions.push_back(rows[i].position);
    at.push_back(static_cast<int>(i));
    request = rows[i].record.request_id();
  }
  if (positions.empty()) return absl::OkStatus();
  TG_ASSIGN(const base::Uuid id, base::Uuid::FromBytes(request));
  TG_ASSIGN(auto contents,
            caller.context().reader.OpenContents(viewer, base::RequestId(id), positions, reason, [&caller] { return caller.KeepGoing(); }));
  for (std::size_t i = 0; i < contents.size(); ++i) {
    v1::StoredRecord& out = *reply.mutable_records(at[i]);
    if (contents[i].ok()) {
      *out.mutable_content() = *std::move(contents[i]);
    } else if (absl::IsNotFound(contents[i].status()) || absl::IsDataLoss(contents[i].status())) {
      out.set_content_missing(base::Message(contents[i].status()));
    } else {
      return contents[i].status();
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ListRecords(const Caller& caller, const v1::ListRecordsRequest& request, v1::ListRecordsReply& reply) {
  TG_ASSIGN(const Shard* shard, caller.ScopeOf(request.org()));
  TG_ASSIGN(const Narrowed narrowed, caller.Narrow(shard, request.team(), request.project(), request.key()));
  audit::ListFilter filter;
  filter.team = narrowed.team;
  filter.project = narrowed.project;
  filter.key = narrowed.key;
  for (const int kind : request.kinds()) filter.kinds.push_back(static_cast<v1::RecordKind>(kind));
  if (!request.request_id().empty()) {
    TG_ASSIGN(filter.request, RequestOf(request.request_id()));
  }
  if (request.from_us() != 0) filter.from = base::FromMicros(request.from_us());
  if (request.to_us() != 0) filter.to = base::FromMicros(request.to_us());
  if (request.page_size() < 0 || request.page_size() > 500) return base::InvalidArgument("page_size: use 1 to 500, or 0 for 50");
  filter.limit = request.page_size() == 0 ? 50 : request.page_size();
  filter.cursor = request.page_token();
  TG_ASSIGN(const audit::Page page, caller.context().reader.List(caller.ViewerOf(shard), filter));
  for (const audit::Row& row : page.rows) *reply.add_records() = Describe(caller, row);
  reply.set_next_page_token(page.next);
  return absl::OkStatus();
}

absl::Status ShowRecord(const Caller& caller, const v1::ShowRecordRequest& request, v1::ShowRecordReply& reply) {
  TG_ASSIGN(const Shard* shard, caller.ScopeOf({}));
  audit::Viewer viewer = caller.ViewerOf(shard);
  if (request.with_content()) {
    TG_RETURN_IF_ERROR(caller.Need(Permission::kReadContent));
    TG_RETURN_IF_ERROR(NeedReason(request.reason(), "the content is read"));
  }
  audit::Reader& reader = caller.context().reader;
  std::vector<audit::Row> rows;
  if (request.what_case() == v1::ShowRecordRequest::kRequestId) {
    TG_ASSIGN(const base::RequestId id, RequestOf(request.request_id()));
    TG_ASSIGN(rows, reader.Show(viewer, id));
  } else if (request.what_case() == v1::ShowRecordRequest::kPosition) {
    audit::ListFilter filter;
    filter.log_id = request.position().log_id();
    filter.index_from = request.position().index();
    filter.index_to = request.position().index() + 1;
    TG_ASSIGN(audit::Page page, reader.List(viewer, filter));
    rows = std::move(page.rows);
    if (rows.empty())
      return base::NotFound(fmt::format("there is no record {}/{}", request.position().log_id(), request.position().index()));
  } else {
    return base::InvalidArgument("name a request_id or a position");
  }
  for (const audit::Row& row : rows) *reply.add_records() = Describe(caller, row);
  return request.with_content() ? AddContents(caller, viewer, rows, request.reason(), reply) : absl::OkStatus();
}

absl::Status VerifyLogs(const Caller& caller, const v1::VerifyLogRequest& request, v1::VerifyLogReply& reply) {
  TG_RETURN_IF_ERROR(caller.Need(Permission::kVerifyAudit, true));
  return caller.RunLong(caller.context().verify, [&](base::Session& session) -> absl::Status {
    audit::VerifyOptions options;
    options.keep_going = [&caller] { return caller.KeepGoing(); };
    reply.set_ok(true);
    const auto tell = [&reply](const audit::VerifyReport& report) {
      v1::VerifiedLog& out = *reply.add_logs();
      out.set_log_id(report.log_id);
      out.set_size(report.size);
      out.set_root(std::string(base::View(report.root)));
      out.set_problem(report.problem);
      out.set_first_bad_index(report.bad_index ? std::max<std::int64_t>(*report.bad_index, 0) : -1);
      if (!report.good) reply.set_ok(false);
    };
    std::vector<std::int32_t> logs;
    if (request.has_log_id()) {
      logs.push_back(request.log_id());
    } else {
      TG_ASSIGN(logs, audit::ListLogs(session));
    }
    for (const std::int32_t log : logs) {
      TG_ASSIGN(const audit::VerifyReport report, audit::VerifyLog(session, log, options));
      tell(report);
    }
    if (request.has_log_id()) return absl::OkStatus();
    TG_ASSIGN(const auto headless, audit::FindHeadless(session, options));
    for (const audit::VerifyReport& report : headless) tell(report);
    return absl::OkStatus();
  });
}

}  // namespace tollgate::admin
