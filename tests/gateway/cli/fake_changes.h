// What a replay, or a report of shadows, says on its first page and on its second.
#pragma once

#include "tollgate/v1/policy.pb.h"

namespace v1 = tollgate::v1;

inline void FillChanges(bool first, v1::PolicyChanges& reply) {
  reply.set_policy_digest("0123456789abcdef");
  reply.set_judged(1500);
  reply.set_replies(500);
  reply.set_changed(20);
  reply.set_erased(3);
  v1::VerdictChange& verdict = *reply.add_verdicts();
  verdict.set_team("search");
  verdict.set_direction("input");
  verdict.set_was("allow");
  verdict.set_would("block");
  verdict.set_count(20);
  v1::RecordPosition& at = *verdict.add_examples();
  at.set_log_id(1);
  at.set_index(first ? 7 : 9);
  v1::RuleChange& rule = *reply.add_rules();
  rule.set_team("search");
  rule.set_direction("input");
  rule.set_rule_id("codename");
  rule.set_would("block");
  rule.set_count(20);
  rule.set_spans_would(21);
  v1::ReplyGap& gap = *reply.add_reply_gaps();
  gap.set_why("blocked");
  gap.set_count(2);
  *gap.add_examples() = at;
  if (!first) reply.add_reply_gaps()->set_why("erased");
  if (!first) reply.mutable_reply_gaps(1)->set_count(1);
  if (first) reply.set_next_page_token("more");
}
