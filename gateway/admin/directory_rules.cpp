// As directory_tenants.cpp. Tested by tests/gateway/admin/services_test.cpp.
#include <map>

#include <fmt/format.h>

#include "base/diagnostics.h"
#include "base/money.h"
#include "gateway/admin/describe.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/page.h"
#include "metering/usage_postgres.h"

namespace tollgate::admin {

using directory::Row;
using directory::Shard;
using directory::Table;

namespace {

using Rules = std::vector<std::pair<std::string, std::pair<const Row*, ScopeNames>>>;

// The shard's rows of a table that `keep` wants, with their scopes.
template <typename Keep>
Rules RulesOf(const Shard& shard, Table table, const Keep& keep) {
  Rules rules;
  for (const auto& row : shard.rows[static_cast<std::size_t>(table)]) {
    if (!keep(*row)) continue;
    const ScopeNames names = NamesOf(shard, row->Id("scope_id"));
    rules.emplace_back(fmt::format("{}/{}/{}/{}", names.team, names.project, names.key, row->id.ToString()), std::pair(row.get(), names));
  }
  return rules;
}

// Tells of each limit what is taken, where the caller may read the org's usage. Limits are listed without it too: that is when an operator
// with a database in trouble looks.
void FillTaken(const Caller& caller, const Shard& shard, v1::ListQuotasReply& reply) {
  const bool own = shard.org.id == caller.place().org->id;
  if (!caller.Need(identity::Permission::kReadUsage, !own).ok()) return;
  std::map<std::string, v1::Quota*> by_id;
  std::vector<base::Uuid> ids;
  for (v1::Quota& quota : *reply.mutable_quotas()) {
    const auto id = base::Uuid::Parse(quota.id());
    if (quota.meter() == v1::QUOTA_METER_CONCURRENT || !id.ok()) continue;
    by_id[id->ToString()] = &quota;
    ids.push_back(*id);
  }
  if (ids.empty()) return;
  const absl::Status told = caller.RunLong(caller.context().taken, [&](base::Session& session) -> absl::Status {
    TG_ASSIGN(const std::vector<metering::QuotaUse> uses, metering::QuotaUses(session, ids));
    for (const auto& [id, quota] : by_id) quota->set_taken(0);
    for (const metering::QuotaUse& use : uses) {
      v1::Quota& quota = *by_id.at(use.quota.ToString());
      quota.set_taken(use.taken);
      quota.set_resets_us(base::ToMicros(use.window_end));
    }
    return absl::OkStatus();
  });
  if (!told.ok()) base::Warn("admin", "limits are listed without what is taken of them: {}", base::Message(told));
}

absl::StatusOr<base::Money> MoneyOf(std::string_view field, const std::string& text) {
  const auto money = base::ParseMoney(text);
  if (!money.ok()) return base::InvalidArgument(fmt::format("{}: use decimal text with at most nine decimals, like 0.15", field));
  return money;
}

}  // namespace

absl::Status GrantModel(const Caller& caller, const v1::GrantModelRequest& request, v1::Grant& reply) {
  TG_ASSIGN(const ScopeNames names, caller.Names(request.scope()));
  TG_ASSIGN(const Changed made, caller.changes().GrantModel(caller.actor(), names, request.model()));
  caller.Await(made.version);
  reply = DescribeGrant(made.row, names);
  return absl::OkStatus();
}

absl::Status RevokeGrant(const Caller& caller, const v1::RevokeGrantRequest& request, v1::Grant& reply) {
  TG_ASSIGN(const ScopeNames names, caller.Names(request.scope()));
  TG_ASSIGN(const Changed made, caller.changes().RevokeGrant(caller.actor(), names, request.model()));
  caller.Await(made.version);
  reply = DescribeGrant(made.row, names);
  return absl::OkStatus();
}

absl::Status ClearGrants(const Caller& caller, const v1::ClearGrantsRequest& request, v1::ClearGrantsReply& reply) {
  TG_ASSIGN(const ScopeNames names, caller.Names(request.scope()));
  TG_ASSIGN(const auto cleared, caller.changes().ClearGrants(caller.actor(), names));
  caller.Await(cleared.second);
  reply.set_removed(cleared.first);
  return absl::OkStatus();
}

absl::Status ListGrants(const Caller& caller, const v1::ListGrantsRequest& request, v1::ListGrantsReply& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  auto grants = RulesOf(*shard, Table::kModelGrant, [](const Row& row) { return row.Text("state") != "cleared"; });
  const auto emit = [&reply](const auto& grant) { *reply.add_grants() = DescribeGrant(*grant.first, grant.second); };
  TG_ASSIGN(*reply.mutable_next_page_token(), Paged(std::move(grants), request.page_size(), request.page_token(), emit));
  return absl::OkStatus();
}

absl::Status SetQuota(const Caller& caller, const v1::SetQuotaRequest& request, v1::Quota& reply) {
  TG_ASSIGN(const ScopeNames names, caller.Names(request.scope()));
  TG_ASSIGN(const MeterWords words, WordsOf(request.meter(), request.window()));
  TG_ASSIGN(const Changed made, caller.changes().SetQuota(caller.actor(), names, words.meter, words.window, request.amount()));
  caller.Await(made.version);
  reply = DescribeQuota(made.row, names);
  return absl::OkStatus();
}

absl::Status RemoveQuota(const Caller& caller, const v1::RemoveQuotaRequest& request, v1::Quota& reply) {
  TG_ASSIGN(const ScopeNames names, caller.Names(request.scope()));
  TG_ASSIGN(const MeterWords words, WordsOf(request.meter(), request.window()));
  TG_ASSIGN(const Changed made, caller.changes().RemoveQuota(caller.actor(), names, words.meter, words.window));
  caller.Await(made.version);
  reply = DescribeQuota(made.row, names);
  return absl::OkStatus();
}

absl::Status ListQuotas(const Caller& caller, const v1::ListQuotasRequest& request, v1::ListQuotasReply& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  auto quotas = RulesOf(*shard, Table::kQuota, [](const Row& row) { return !row.Bool("removed"); });
  const auto emit = [&reply](const auto& quota) { *reply.add_quotas() = DescribeQuota(*quota.first, quota.second); };
  TG_ASSIGN(*reply.mutable_next_page_token(), Paged(std::move(quotas), request.page_size(), request.page_token(), emit));
  FillTaken(caller, *shard, reply);
  return absl::OkStatus();
}

absl::Status SetPrice(const Caller& caller, const v1::SetPriceRequest& request, v1::Price& reply) {
  TG_RETURN_IF_ERROR(caller.Need(identity::Permission::kManagePrices, true));
  NewPrice price;
  price.model = request.model();
  TG_ASSIGN(price.input, MoneyOf("input_per_1000", request.input_per_1000()));
  price.keeps_cached = request.cached_input_per_1000().empty();
  if (!request.cached_input_per_1000().empty()) {
    TG_ASSIGN(price.cached_input, MoneyOf("cached_input_per_1000", request.cached_input_per_1000()));
  }
  TG_ASSIGN(price.output, MoneyOf("output_per_1000", request.output_per_1000()));
  price.currency = request.currency();
  price.effective_from_us = request.effective_from_us();
  TG_ASSIGN(const Changed made, caller.changes().SetPrice(caller.actor(), price));
  caller.Await(made.version);
  reply = DescribePrice(made.row);
  return absl::OkStatus();
}

absl::Status ListPrices(const Caller& caller, const v1::ListPricesRequest& request, v1::ListPricesReply& reply) {
  std::vector<std::pair<std::string, const Row*>> prices;
  for (const auto& row : caller.snapshot().installation().price_rows) {
    if (!request.model().empty() && row->Text("model") != request.model()) continue;
    if (!caller.Knows(row->Text("model"))) continue;
    prices.emplace_back(fmt::format("{:020}", std::int64_t{INT64_MAX} - row->Int("price_version")), row.get());  // Newest first.
  }
  const auto emit = [&reply](const Row* row) { *reply.add_prices() = DescribePrice(*row); };
  TG_ASSIGN(*reply.mutable_next_page_token(), Paged(std::move(prices), request.page_size(), request.page_token(), emit));
  return absl::OkStatus();
}

}  // namespace tollgate::admin
