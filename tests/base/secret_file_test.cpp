#include "base/secret_file.h"

#include <string>

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>

#include "base/encoding.h"
#include "tests/support/temp_dir.h"

using namespace tollgate::base;

TEST_CASE("A secret's file is read by its owner, and by a group of the process where root gave it so; written by its owner alone") {
  const std::uint32_t groups[] = {10001, 20};
  struct Row {
    FileAccess file;
    const char* by_rule;
    const char* any_group;
  };
  const Row rows[] = {
      {{10001, 10001, 0600}, "", ""},
      {{10001, 10001, 0400}, "", ""},
      {{0, 10001, 0440}, "", ""},  // A Secret of Kubernetes under fsGroup.
      {{0, 20, 0640}, "", ""},
      {{0, 0, 0440}, "", ""},                                      // A credential of systemd: its access list shows as the group's bits.
      {{0, 30, 0440}, "others may read", ""},                      // Somebody else's group.
      {{10001, 10001, 0640}, "others may read", ""},               // Its owner can close it.
      {{0, 10001, 0444}, "others may read", "others may read"},    // A Secret of Docker.
      {{0, 10001, 0604}, "others may read", "others may read"},    //
      {{0, 10001, 0460}, "others may write", "others may write"},  //
      {{10001, 10001, 0620}, "others may write", "others may write"},  //
      {{10001, 10001, 0602}, "others may read", "others may read"},
      {{0, 10001, 0777}, "others may read", "others may read"},
  };
  for (const Row& row : rows) {
    INFO(row.file.owner << ":" << row.file.group << " " << std::oct << row.file.mode);
    CHECK(SecretFault(row.file, groups, SecretReaders::kByRule) == row.by_rule);
    CHECK(SecretFault(row.file, groups, SecretReaders::kAnyGroup) == row.any_group);
  }
}

TEST_CASE("The remedy for a file that others may read goes with it, and a file that is not there is not at fault") {
  const tollgate::test::TempDir dir;
  const std::string file = dir.File("key");
  REQUIRE(WriteFileAtomically(file, "x", 0600).ok());
  CHECK(SecretFileFault(file).empty());
  REQUIRE(::chmod(file.c_str(), 0644) == 0);
  CHECK(SecretFileFault(file) == "others may read; run: chmod 600 " + file);
  CHECK(SecretFileFault(dir.File("none")).empty());
  if (::geteuid() != 0) return;  // Who is root can give a file away.
  REQUIRE(::chmod(file.c_str(), 0440) == 0);
  CHECK(SecretFileFault(file).empty());
  REQUIRE(::chown(file.c_str(), 0, 54321) == 0);
  CHECK(SecretFileFault(file) == "others may read; run: chmod 600 " + file);
  CHECK(SecretFileFault(file, SecretReaders::kAnyGroup).empty());
}
