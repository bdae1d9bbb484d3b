// Sets of names. Tested by tests/gateway/admin/people_test.cpp.
#include "gateway/admin/people.h"

#include <set>

#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>
#include <fmt/format.h>

#include "base/error_detail.h"

namespace tollgate::admin {
namespace {

std::set<std::string> Behind(const Person& person) {
  std::set<std::string> people = absl::StrSplit(person.made_by, '\n', absl::SkipEmpty());
  people.insert(person.name);
  return people;
}

}  // namespace

std::string MadeBy(const Person& maker, std::string_view owner) {
  std::set<std::string> people = Behind(maker);
  people.erase(std::string(owner));
  return absl::StrJoin(people, "\n");
}

absl::Status NeedTwoPeople(const Person& first, const Person& second, std::string_view same) {
  const base::ErrorDetail detail{.reason = "SECOND_PERSON_NEEDED", .may_retry = false};
  if (first.name == second.name) return base::WithDetail(base::FailedPrecondition(same), detail);
  const std::set<std::string> others = Behind(second);
  for (const std::string& one : Behind(first)) {
    if (!others.contains(one)) continue;
    return base::WithDetail(base::FailedPrecondition(fmt::format(
                                "it takes a second person, and {} may know the secrets of both keys: whoever makes or rotates a "
                                "key for somebody else counts beside them; have an owner make or rotate one of the two",
                                one)),
                            detail);
  }
  return absl::OkStatus();
}

}  // namespace tollgate::admin
