// The canonical form is a list of length-prefixed strings, so that no two rows share one: a label, the table, the id, then name, type and
// value of every column that is not NULL. The MAC adds what the ADMIN record cannot hold yet when it is written: its own position, and the
// version. Tested by tests/gateway/directory/rows_test.cpp.
#include "gateway/directory/rows.h"

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/status.h"

namespace tollgate::directory {
namespace {

std::vector<base::CompanionColumn> KeyColumns() {
  return {{"org", "uuid"},          {"project", "uuid"},     {"public_id", "text"},  {"name", "text"},       {"owner", "text"},
          {"secret_hmac", "bytea"}, {"roles", "text"},       {"created_us", "int8"}, {"expires_us", "int8"}, {"revoked_us", "int8"},
          {"dev", "bool"},          {"predecessor", "uuid"}, {"made_by", "text"}};
}

std::vector<base::CompanionColumn> ModelColumns() {
  return {{"name", "text"},
          {"engine", "text"},
          {"file", "text"},
          {"sha256", "bytea"},
          {"licence", "text"},
          {"chat_template", "text"},
          {"context_tokens", "int8"},
          {"slots", "int8"},
          {"threads", "int8"},
          {"kv", "text"},
          {"queue_max", "int8"},
          {"queue_timeout_ms", "int8"},
          {"prefix_cache_bytes", "int8"},
          {"step_target_ms", "int8"},
          {"restricted", "bool"},
          {"loaded", "bool"},
          {"retired", "bool"},
          {"pooling", "text"},
          {"base", "text"},
          {"scale_millionths", "int8"},
          {"strict", "bool"},
          {"kv_tokens", "int8"}};
}

std::vector<base::CompanionColumn> AliasColumns() {
  return {{"name", "text"},   {"targets", "text"}, {"fallbacks", "text"}, {"previous_targets", "text"}, {"previous_fallbacks", "text"},
          {"removed", "bool"}};
}

std::vector<base::CompanionColumn> ChatDefaultsColumns() {
  return {{"org", "uuid"},
          {"scope_kind", "text"},
          {"scope_id", "uuid"},
          {"defaults_version", "int8"},
          {"system_prompt", "text"},
          {"replaces_system", "bool"},
          {"temperature_millionths", "int8"},
          {"top_p_millionths", "int8"},
          {"top_k", "int8"},
          {"min_p_millionths", "int8"},
          {"presence_penalty_millionths", "int8"},
          {"frequency_penalty_millionths", "int8"},
          {"repeat_penalty_millionths", "int8"},
          {"max_tokens", "int8"},
          {"temperature_cap_millionths", "int8"},
          {"input_tokens_cap", "int8"},
          {"output_tokens_cap", "int8"},
          {"stop_cap", "int8"},
          {"clamp", "bool"},
          {"shares_cache", "bool"},
          {"removed", "bool"},
          {"band", "int8"},
          {"weight_millionths", "int8"},
          {"reasoning_tokens_cap", "int8"},
          {"by_installation", "bool"}};
}

std::vector<base::CompanionColumn> PolicyColumns() {
  return {{"org", "uuid"},        {"name", "text"},   {"policy_version", "int8"}, {"sha256", "bytea"},        {"yaml", "text"},
          {"created_us", "int8"}, {"author", "text"}, {"draft", "bool"},          {"author_made_by", "text"}, {"bundle", "int8"}};
}

std::vector<base::CompanionColumn> PolicyBindingColumns() {
  return {{"org", "uuid"},
          {"name", "text"},
          {"policy_version", "int8"},
          {"mode", "text"},
          {"previous_version", "int8"},
          {"candidate_version", "int8"},
          {"candidate_mode", "text"},
          {"canary_by", "text"},
          {"canary_share", "int8"}};
}

const std::array<TableSpec, kTables>& Specs() {
  static const auto& specs = *new std::array<TableSpec, kTables>{{
      {Table::kOrg,
       "directory.org",
       {{"name", "text"}, {"blocked", "bool"}, {"second_person", "bool"}, {"policy_signers", "text"}, {"signed_policies", "bool"}}},
      {Table::kTeam, "directory.team", {{"org", "uuid"}, {"name", "text"}, {"blocked", "bool"}}},
      {Table::kProject, "directory.project", {{"org", "uuid"}, {"team", "uuid"}, {"name", "text"}, {"blocked", "bool"}}},
      {Table::kKey, "directory.key", KeyColumns()},
      {Table::kPolicy, "directory.policy", PolicyColumns()},
      {Table::kPolicyBinding, "directory.policy_binding", PolicyBindingColumns()},
      {Table::kModelGrant,
       "directory.model_grant",
       {{"org", "uuid"}, {"scope_kind", "text"}, {"scope_id", "uuid"}, {"model", "text"}, {"state", "text"}, {"by_installation", "bool"}}},
      {Table::kQuota,
       "directory.quota",
       {{"org", "uuid"},
        {"scope_kind", "text"},
        {"scope_id", "uuid"},
        {"meter", "text"},
        {"period", "text"},
        {"amount", "int8"},
        {"removed", "bool"},
        {"by_installation", "bool"}}},
      {Table::kStop,
       "directory.stop",
       {{"org", "uuid"},
        {"scope_kind", "text"},
        {"scope_id", "uuid"},
        {"model", "text"},
        {"reason", "text"},
        {"since_us", "int8"},
        {"lifted", "bool"},
        {"by_installation", "bool"}}},
      {Table::kPrice,
       "metering.price",
       {{"price_version", "int8"},
        {"model", "text"},
        {"effective_from_us", "int8"},
        {"input_nanos", "int8"},
        {"cached_input_nanos", "int8"},
        {"output_nanos", "int8"},
        {"currency", "text"}}},
      {Table::kModel, "directory.model", ModelColumns()},
      {Table::kAlias, "directory.alias", AliasColumns()},
      {Table::kChatDefaults, "directory.chat_defaults", ChatDefaultsColumns()},
  }};
  return specs;
}

std::size_t IndexOf(Table table, std::string_view column) {
  const auto& columns = SpecOf(table).columns;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].name == column) return i;
  }
  base::Die(__FILE__, __LINE__, fmt::format("{} has no column {}", SpecOf(table).name, column));
}

void AppendString(std::string& out, std::string_view text) {
  base::AppendBigEndian(out, text.size(), 8);
  out += text;
}

std::string Canonical(const Row& row) {
  std::string out;
  AppendString(out, "tollgate-directory-row-1");
  AppendString(out, SpecOf(row.table).name);
  AppendString(out, row.id.Bytes());
  const auto& columns = SpecOf(row.table).columns;
  TG_CHECK(columns.size() == row.values.size(), "a row with other columns than its table");
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const base::Value& value = row.values[i];
    if (std::holds_alternative<std::monostate>(value)) continue;
    AppendString(out, columns[i].name);
    AppendString(out, columns[i].type);
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
      AppendString(out, std::to_string(*number));
    } else if (const auto* blob = std::get_if<base::Blob>(&value)) {
      AppendString(out, blob->bytes);
    } else {
      AppendString(out, std::get<std::string>(value));
    }
  }
  return out;
}

}  // namespace

const TableSpec& SpecOf(Table table) { return Specs()[static_cast<std::size_t>(table)]; }

bool Row::IsNull(std::string_view column) const { return std::holds_alternative<std::monostate>(values[IndexOf(table, column)]); }
const std::string& Row::Text(std::string_view column) const { return std::get<std::string>(values[IndexOf(table, column)]); }
std::string Row::TextOr(std::string_view column, std::string_view if_null) const {
  return IsNull(column) ? std::string(if_null) : Text(column);
}
std::int64_t Row::Int(std::string_view column) const { return std::get<std::int64_t>(values[IndexOf(table, column)]); }
const std::string& Row::Bytes(std::string_view column) const { return std::get<base::Blob>(values[IndexOf(table, column)]).bytes; }

base::Uuid Row::Id(std::string_view column) const {
  if (IsNull(column)) return base::Uuid();
  const auto id = base::Uuid::Parse(Text(column));
  return id.ok() ? *id : base::Uuid();
}

void Row::Set(std::string_view column, base::Value value) { values[IndexOf(table, column)] = std::move(value); }

Row NewRow(Table table) {
  Row row;
  row.table = table;
  row.id = base::Uuid::NewV7();
  row.values.resize(SpecOf(table).columns.size());
  return row;
}

base::Digest RowDigest(const Row& row) { return base::Sha256(Canonical(row)); }

base::Digest RowMac(std::string_view key, const Row& row) {
  std::string bytes = Canonical(row);
  base::AppendBigEndian(bytes, static_cast<std::uint64_t>(row.version), 8);
  AppendString(bytes, row.admin_record.Bytes());
  base::AppendBigEndian(bytes, static_cast<std::uint64_t>(row.admin_log_id), 8);
  base::AppendBigEndian(bytes, static_cast<std::uint64_t>(row.admin_index), 8);
  return base::HmacSha256(key, bytes);
}

base::Digest HeadMac(std::string_view key, std::int64_t version, const base::Digest& set) {
  std::string bytes;
  AppendString(bytes, "tollgate-directory-head-1");
  base::AppendBigEndian(bytes, static_cast<std::uint64_t>(version), 8);
  AppendString(bytes, base::View(set));
  return base::HmacSha256(key, bytes);
}

absl::Status CheckHead(std::string_view key, const Head& head) {
  const base::Digest mac = HeadMac(key, head.version, head.set);
  if (head.version == 0 || base::ConstantTimeEqual(base::View(mac), base::View(head.mac))) return absl::OkStatus();
  return base::DataLoss(
      "directory.head does not verify: it was changed outside Tollgate, or the root key is another one; nothing was changed");
}

void Toggle(base::Digest& set, const base::Digest& row_mac) {
  for (std::size_t i = 0; i < set.size(); ++i) set[i] ^= row_mac[i];
}

}  // namespace tollgate::directory
