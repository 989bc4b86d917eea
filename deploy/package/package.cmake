# The Debian package: what cmake --install installs, by CPack.
#
#   cmake --preset package && cmake --build --preset package
#
# What a package has beside that is made by debian/stage.cmake, when all is
# installed in a folder and before it is packed. (.rpm: imageio-fcgi.spec.)

set(package "${CMAKE_CURRENT_LIST_DIR}/debian")
set(PACKAGE_MAINTAINER "" CACHE STRING
  "Who maintains the package: NAME <ADDRESS>; else DEBFULLNAME and DEBEMAIL")

if(PACKAGE_MAINTAINER)
  set(CPACK_PACKAGE_CONTACT "${PACKAGE_MAINTAINER}")
elseif(DEFINED ENV{DEBFULLNAME} AND DEFINED ENV{DEBEMAIL})
  set(CPACK_PACKAGE_CONTACT "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
else()
  set(CPACK_PACKAGE_CONTACT "imageio-fcgi maintainers <maintainers@imageio-fcgi.invalid>")
endif()

# The revision is the changelog's.
file(STRINGS "${package}/changelog.in" version LIMIT_COUNT 1)
string(REGEX REPLACE ".*\\((.*)-(.*)\\).*" "\\1" CPACK_PACKAGE_VERSION "${version}")
string(REGEX REPLACE ".*\\((.*)-(.*)\\).*" "\\2" CPACK_DEBIAN_PACKAGE_RELEASE
  "${version}")
if(NOT CPACK_PACKAGE_VERSION VERSION_EQUAL PROJECT_VERSION)
  message(WARNING "${package}/changelog.in says nothing of ${PROJECT_VERSION}")
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_STRIP_FILES ON)
set(CPACK_SET_DESTDIR ON) # there are files in /etc and below /usr
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
  WORLD_READ WORLD_EXECUTE)
set(CPACK_IMAGEIO_DEBIAN "${package}")
set(CPACK_IMAGEIO_MADE "${PROJECT_BINARY_DIR}/debian")
set(CPACK_PRE_BUILD_SCRIPTS "${package}/stage.cmake")

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION httpd)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_PREDEPENDS "init-system-helpers (>= 1.54~)")
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "nginx | lighttpd")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "qemu-utils | nbdkit, spawn-fcgi, curl, jq")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "serves disk images of virtual machines over HTTP")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"A FastCGI program that lets HTTP clients read and write the disks of virtual
machines: whole, in ranges, or only what is in use or has changed. It is for
backup tools that speak the oVirt images API, and for anyone with curl.
.
nginx or lighttpd in front of it does HTTP and TLS; an NBD server (qemu-nbd,
nbdkit, libvirt) or a file behind it has the bytes. A ticket, a small file,
opens one image; imageio-fcgi-ctl writes and removes tickets, and shows who
transfers what. A page for the browser shows the same.
.
Services for systemd and, by spawn-fcgi, for other inits are included.")
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  "${package}/preinst" "${package}/postinst"
  "${package}/prerm" "${package}/postrm"
  "${CPACK_IMAGEIO_MADE}/conffiles")

include(CPack)
