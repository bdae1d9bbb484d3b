#include "gateway/directory/names.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace tollgate;
using directory::Role;

TEST_CASE("Names are short, lower case and plain") {
  for (const char* good : {"a", "acme", "team-7", "0", "a-b-c"}) CHECK(directory::CheckName("team name", good).ok());
  CHECK(directory::CheckName("team name", std::string(63, 'a')).ok());
  const std::string bad =
      GENERATE(values<std::string>({"", "-a", "a-", "A", "a b", "a_b", "a/b", "ä", "a\n", std::string(64, 'a'), std::string("a\0b", 3)}));
  const auto refused = directory::CheckName("team name", bad);
  CHECK(absl::IsInvalidArgument(refused));
  CHECK(base::Message(refused).starts_with("team name: use 1 to 63"));
}

TEST_CASE("Model names may hold what model names hold") {
  for (const char* good : {"smollm2", "Qwen/Qwen2.5-7B-Instruct", "llama3:8b", "a@1.0"}) CHECK(directory::CheckModelName(good).ok());
  for (const char* bad : {"", "a b", "a'b", "modèle"}) CHECK_FALSE(directory::CheckModelName(bad).ok());
  CHECK_FALSE(directory::CheckModelName(std::string(129, 'a')).ok());
}

TEST_CASE("Roles go to text and back, in one order") {
  CHECK(directory::JoinRoles({Role::kMember, Role::kOwner, Role::kMember}) == "owner,member");
  const auto roles = directory::SplitRoles("owner,policy_author,member");
  REQUIRE(roles.ok());
  CHECK(*roles == std::vector<Role>{Role::kOwner, Role::kPolicyAuthor, Role::kMember});
  CHECK(directory::SplitRoles("")->empty());
  CHECK_FALSE(directory::SplitRoles("owner,god").ok());
  CHECK_FALSE(directory::ParseRole("Owner").ok());
}
