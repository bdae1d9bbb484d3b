#include "gateway/admin/people.h"

#include <catch2/catch_test_macros.hpp>

#include "base/error_detail.h"

using namespace tollgate;
using admin::MadeBy;
using admin::NeedTwoPeople;
using admin::Person;

TEST_CASE("Whoever makes a key for somebody else stands behind it, and so does whoever stands behind the maker's own key") {
  struct Case {
    Person maker;
    std::string owner, made_by;
  };
  for (const Case& one :
       {Case{{"alice", ""}, "alice", ""}, Case{{"alice", ""}, "bob", "alice"}, Case{{"bob", "alice"}, "carol", "alice\nbob"},
        Case{{"bob", "alice"}, "bob", "alice"}, Case{{"bob", "alice"}, "alice", "bob"}, Case{{"bob", "alice\nzoe"}, "alice", "bob\nzoe"}}) {
    INFO(one.maker.name << ", " << one.owner);
    CHECK(MadeBy(one.maker, one.owner) == one.made_by);
  }
}

TEST_CASE("Two people are two only if nobody stands behind both") {
  struct Case {
    Person first, second;
    std::string both;  // Who; empty = two people.
  };
  for (const Case& one : {Case{{"alice", ""}, {"bob", ""}, ""}, Case{{"alice", ""}, {"alice", ""}, "the same"},
                          Case{{"alice", ""}, {"bob", "alice"}, "alice"}, Case{{"bob", "alice"}, {"alice", ""}, "alice"},
                          Case{{"dave", "alice"}, {"carol", "alice"}, "alice"}, Case{{"dave", "alice"}, {"carol", ""}, ""},
                          Case{{"dave", "alice\nzoe"}, {"carol", "bob\nzoe"}, "zoe"}, Case{{"ali", ""}, {"bob", "alice"}, ""}}) {
    const absl::Status status = NeedTwoPeople(one.first, one.second, "the same did it");
    INFO(one.first.name << ", " << one.second.name << ": " << status);
    CHECK(status.ok() == one.both.empty());
    if (status.ok()) continue;
    CHECK(absl::IsFailedPrecondition(status));
    CHECK(base::DetailOf(status).value().reason == "SECOND_PERSON_NEEDED");
    CHECK(base::Message(status).find(one.both) != std::string::npos);
  }
}
