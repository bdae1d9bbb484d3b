// Texts of varying length stand behind their length or last, so that no two rows are signed by the same text. Grants for minutes are signed
// as they were before approvals were for a prompt. A grant for one request from before names no prompt and bears the older MAC, so that it
// neither is anybody's nor can be made so. Tested by tests/gateway/gates/gates_postgres_test.cpp.
#include "gateway/gates/approval_rows.h"

#include <utility>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"

namespace tollgate::gates {

std::string WishInForce(std::string_view of) {
  return fmt::format("({0}asked_at > now() - interval '7 days' AND ({0}minutes > 0 OR {0}prompt <> ''))", of);
}

const std::string& ApprovalColumns() {
  static const std::string columns = fmt::format(
      "id::text, team_id::text, key_id::text, request_id::text, rule, CASE WHEN state = 'granted' AND NOT ({}) THEN 'expired' "
      "WHEN state = 'pending' AND NOT {} THEN 'lapsed' ELSE state END, coalesce(granted_by, ''), minutes, "
      "(extract(epoch FROM asked_at) * 1e6)::int8, coalesce((extract(epoch FROM granted_at) * 1e6)::int8, 0), prompt, "
      "coalesce(mac, ''::bytea)",
      kGrantInForce, WishInForce());
  return columns;
}

absl::StatusOr<ApprovalRow> ApprovalRowOf(const base::Rows& rows, std::size_t i) {
  ApprovalRow out;
  Approval& approval = out.approval;
  TG_ASSIGN(approval.id, base::Uuid::Parse(rows.Text(i, 0)));
  TG_ASSIGN(const base::Uuid team, base::Uuid::Parse(rows.Text(i, 1)));
  TG_ASSIGN(const base::Uuid key, base::Uuid::Parse(rows.Text(i, 2)));
  TG_ASSIGN(const base::Uuid request, base::Uuid::Parse(rows.Text(i, 3)));
  approval.team = base::TeamId(team);
  approval.key = base::KeyId(key);
  approval.request = base::RequestId(request);
  approval.rule = rows.Text(i, 4);
  approval.state = rows.Text(i, 5);
  approval.granted_by = rows.Text(i, 6);
  approval.minutes = rows.Int(i, 7);
  approval.asked_us = rows.Int(i, 8);
  approval.granted_us = rows.Int(i, 9);
  out.prompt = rows.Bytes(i, 10);
  out.mac = rows.Bytes(i, 11);
  return out;
}

ApprovalSigner::ApprovalSigner(std::string mac_key)
    : mac_key_(std::move(mac_key)), prompt_key_(base::HkdfExpandSha256(mac_key_, "approval-prompt", 32)) {}

std::string ApprovalSigner::Mac(std::string_view text) const {
  const base::Digest mac = base::HmacSha256(mac_key_, text);
  return std::string(base::View(mac));
}

std::string ApprovalSigner::PromptOf(const Ask& ask, const Wish& wish) const {
  if (wish.minutes > 0) return "";
  const base::Digest prompt =
      base::HmacSha256(prompt_key_, ask.team.Bytes() + ask.key.Bytes() + std::string(base::View(wish.asked)) + wish.rule);
  return std::string(base::View(prompt));
}

ApprovalRow ApprovalSigner::RowOf(const Ask& ask, const Wish& wish) const {
  ApprovalRow row;
  row.approval.id = base::Uuid::NewV7();
  row.approval.team = ask.team;
  row.approval.key = ask.key;
  row.approval.request = ask.request;
  row.approval.rule = wish.rule;
  row.approval.minutes = wish.minutes;
  row.prompt = PromptOf(ask, wish);
  return row;
}

std::string ApprovalSigner::MacOfWish(base::OrgId org, const ApprovalRow& row) const {
  const Approval& a = row.approval;
  return Mac(fmt::format("tollgate wish v1:{}:{}:{}:{}:{}:{}:{}:{}", a.id.ToString(), org.ToString(), a.team.ToString(), a.key.ToString(),
                         a.request.ToString(), a.minutes, base::HexEncode(row.prompt), a.rule));
}

std::string ApprovalSigner::MacOfGrant(const ApprovalRow& row) const {
  const Approval& a = row.approval;
  const std::string granted = fmt::format("{}:{}:{}:{}:{}:{}:{}:{}", a.id.ToString(), a.team.ToString(), a.key.ToString(), a.rule.size(),
                                          a.rule, a.minutes, a.granted_us, a.granted_by);
  if (a.minutes > 0) return Mac("tollgate approval v1:" + granted);
  return Mac(fmt::format("tollgate approval v2:{}:{}:{}", a.request.ToString(), base::HexEncode(row.prompt), granted));
}

}  // namespace tollgate::gates
