// As directory_rules.cpp. Tested by tests/gateway/admin/defaults_test.cpp.
#include <fmt/format.h>

#include "base/encoding.h"
#include "gateway/admin/describe.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/page.h"
#include "gateway/directory/chat_defaults.h"

namespace tollgate::admin {

using directory::Row;

namespace {

v1::ScopeDefaults Describe(const Row& row, const ScopeNames& scope) {
  v1::ScopeDefaults out;
  *out.mutable_scope() = DescribeScope(scope);
  *out.mutable_defaults() = directory::SettingsOf(row);
  out.set_summary(directory::Words(out.defaults()));
  out.set_version(row.Int("defaults_version"));
  out.set_sha256(base::HexEncode(base::View(directory::RowDigest(row))));
  out.set_record(RecordOf(row));
  out.set_by_installation(row.Says("by_installation"));
  return out;
}

}  // namespace

absl::Status SetDefaults(const Caller& caller, const v1::SetDefaultsRequest& request, v1::ScopeDefaults& reply) {
  TG_ASSIGN(const ScopeNames names, caller.Names(request.scope()));
  TG_ASSIGN(const Changed made, caller.changes().SetDefaults(caller.actor(), names, request.defaults(), caller.SeesAll()));
  caller.Await(made.version);
  reply = Describe(made.row, names);
  return absl::OkStatus();
}

absl::Status RemoveDefaults(const Caller& caller, const v1::RemoveDefaultsRequest& request, v1::ScopeDefaults& reply) {
  TG_ASSIGN(const ScopeNames names, caller.Names(request.scope()));
  TG_ASSIGN(const Changed made, caller.changes().RemoveDefaults(caller.actor(), names));
  caller.Await(made.version);
  reply = Describe(made.row, names);
  return absl::OkStatus();
}

absl::Status ListDefaults(const Caller& caller, const v1::ListDefaultsRequest& request, v1::ListDefaultsReply& reply) {
  TG_ASSIGN(const directory::Shard* shard, caller.ShardOf(request.org()));
  std::vector<std::pair<std::string, const Row*>> rows;
  for (const auto& row : RowsOf(*shard, directory::Table::kChatDefaults)) {
    if (row->Bool("removed")) continue;
    const ScopeNames names = NamesOf(*shard, row->Id("scope_id"));
    rows.emplace_back(fmt::format("{}/{}/{}", names.team, names.project, names.key), row.get());
  }
  const auto emit = [&](const Row* row) { *reply.add_defaults() = Describe(*row, NamesOf(*shard, row->Id("scope_id"))); };
  TG_ASSIGN(*reply.mutable_next_page_token(), Paged(std::move(rows), request.page_size(), request.page_token(), emit));
  return absl::OkStatus();
}

}  // namespace tollgate::admin
