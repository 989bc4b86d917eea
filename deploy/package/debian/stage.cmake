# What a Debian package has beside what cmake --install installs. CPack runs
# this when that is in CPACK_TEMPORARY_INSTALL_DIRECTORY.

set(root "${CPACK_TEMPORARY_INSTALL_DIRECTORY}")
set(doc "${root}/usr/share/doc/imageio-fcgi")
set(from "${CPACK_IMAGEIO_DEBIAN}")
set(made "${CPACK_IMAGEIO_MADE}")

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${ARGV}: ${status}")
  endif()
endfunction()

if(NOT EXISTS "${root}/usr/bin/imageio-fcgi")
  message(FATAL_ERROR "a package is for the prefix /usr: cmake --preset package")
endif()

configure_file("${from}/changelog.in" "${doc}/changelog.Debian" @ONLY)
configure_file("${from}/copyright" "${doc}/copyright" COPYONLY)
configure_file("${from}/lintian-overrides"
  "${root}/usr/share/lintian/overrides/imageio-fcgi" COPYONLY)
file(GLOB_RECURSE manuals "${root}/usr/share/man/*.[1-9]")
run(gzip -9nf "${doc}/changelog.Debian" ${manuals})

file(GLOB_RECURSE settings RELATIVE "${root}" "${root}/etc/*")
list(SORT settings)
list(TRANSFORM settings PREPEND "/")
list(JOIN settings "\n" settings)
file(WRITE "${made}/conffiles" "${settings}\n")
run(chmod 644 "${made}/conffiles")

# The same package whenever it is built, and under whatever umask.
if(NOT DEFINED ENV{SOURCE_DATE_EPOCH})
  file(STRINGS "${from}/changelog.in" date REGEX "^ -- " LIMIT_COUNT 1)
  string(REGEX REPLACE "^ -- .*  " "" date "${date}")
  execute_process(COMMAND date -d "${date}" +%s OUTPUT_VARIABLE date
    OUTPUT_STRIP_TRAILING_WHITESPACE)
  set(ENV{SOURCE_DATE_EPOCH} "${date}") # CPack looks at it, too
endif()
run(chmod -R u=rwX,go=rX "${root}")
run(find "${root}" -exec touch -h -d "@$ENV{SOURCE_DATE_EPOCH}" {} +)
