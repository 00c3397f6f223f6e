# SPDX-License-Identifier: MIT
# What all boards here have in common. Before it is included, a board sets IDF_TARGET,
# FLEETLING_DEFAULT_LAYOUT and FLEETLING_MICROPYTHON. The command line may add
#   -DFLEETLING_LAYOUT=8mb                            a table partitions-LAYOUT.csv
#   -DFLEETLING_HARDEN=anti-rollback,secure-boot-v2   fragments of sdkconfig/

get_filename_component(FLEETLING_DIR "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)

if(NOT FLEETLING_LAYOUT)
    set(FLEETLING_LAYOUT ${FLEETLING_DEFAULT_LAYOUT})
endif()
set(FLEETLING_TABLE "${FLEETLING_DIR}/partitions-${FLEETLING_LAYOUT}.csv")
if(NOT EXISTS "${FLEETLING_TABLE}")
    message(FATAL_ERROR "FLEETLING_LAYOUT: there is no ${FLEETLING_TABLE}")
endif()
string(REGEX MATCH "^[0-9]+" FLEETLING_MEGABYTES "${FLEETLING_LAYOUT}")

# ESP-IDF takes the table's path from the configuration, relative to MicroPython's port. Where this
# folder is, only CMake knows, so that part of the configuration is written here.
set(FLEETLING_GENERATED "${CMAKE_BINARY_DIR}/sdkconfig.fleetling")
set(FLEETLING_TEXT "CONFIG_PARTITION_TABLE_CUSTOM=y\n")
string(APPEND FLEETLING_TEXT "CONFIG_PARTITION_TABLE_CUSTOM_FILENAME=\"${FLEETLING_TABLE}\"\n")
foreach(FLEETLING_SIZE 4 8 16)
    if(FLEETLING_SIZE EQUAL FLEETLING_MEGABYTES)
        string(APPEND FLEETLING_TEXT "CONFIG_ESPTOOLPY_FLASHSIZE_${FLEETLING_SIZE}MB=y\n")
    else()
        string(APPEND FLEETLING_TEXT "CONFIG_ESPTOOLPY_FLASHSIZE_${FLEETLING_SIZE}MB=n\n")
    endif()
endforeach()
file(WRITE "${FLEETLING_GENERATED}" "${FLEETLING_TEXT}")

# MicroPython's own settings. Which files they are in differs from release to release, so a board
# names those of all releases, and the ones that are there count.
set(SDKCONFIG_DEFAULTS boards/sdkconfig.base ${SDKCONFIG_IDF_VERSION_SPECIFIC})
foreach(FLEETLING_FILE ${FLEETLING_MICROPYTHON})
    if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${FLEETLING_FILE}")
        list(APPEND SDKCONFIG_DEFAULTS ${FLEETLING_FILE})
    endif()
endforeach()

list(APPEND SDKCONFIG_DEFAULTS
    "${FLEETLING_DIR}/sdkconfig/common"
    "${MICROPY_BOARD_DIR}/sdkconfig.board"
    "${FLEETLING_GENERATED}"
)

string(REPLACE "," ";" FLEETLING_FRAGMENTS "${FLEETLING_HARDEN}")
foreach(FLEETLING_FRAGMENT ${FLEETLING_FRAGMENTS})
    set(FLEETLING_FILE "${FLEETLING_DIR}/sdkconfig/${FLEETLING_FRAGMENT}")
    if(NOT EXISTS "${FLEETLING_FILE}")
        message(FATAL_ERROR "FLEETLING_HARDEN: there is no ${FLEETLING_FILE}")
    endif()
    list(APPEND SDKCONFIG_DEFAULTS "${FLEETLING_FILE}")
endforeach()

# What does not go together would build all the same, and boot otherwise than its builder thinks.
function(fleetling_needs FRAGMENT OTHERS)
    if(NOT FRAGMENT IN_LIST FLEETLING_FRAGMENTS)
        return()
    endif()
    foreach(OTHER ${OTHERS})
        if(OTHER IN_LIST FLEETLING_FRAGMENTS)
            return()
        endif()
    endforeach()
    string(REPLACE ";" " or " OTHERS "${OTHERS}")
    message(FATAL_ERROR "FLEETLING_HARDEN: ${FRAGMENT} needs ${OTHERS}")
endfunction()

function(fleetling_one_of FIRST SECOND)
    if(FIRST IN_LIST FLEETLING_FRAGMENTS AND SECOND IN_LIST FLEETLING_FRAGMENTS)
        message(FATAL_ERROR "FLEETLING_HARDEN: ${FIRST} and ${SECOND} exclude each other")
    endif()
endfunction()

set(FLEETLING_ENCRYPTION flash-encryption-release flash-encryption-development)
fleetling_one_of(flash-encryption-release flash-encryption-development)
fleetling_one_of(nvs-encryption-flash nvs-encryption-hmac)
fleetling_one_of(download-off download-secure)
fleetling_needs(download-off "secure-boot-v2;${FLEETLING_ENCRYPTION}")
fleetling_needs(download-secure "secure-boot-v2;${FLEETLING_ENCRYPTION}")
if("nvs-encryption-flash" IN_LIST FLEETLING_FRAGMENTS AND NOT FLEETLING_LAYOUT MATCHES "-keys$")
    message(FATAL_ERROR "nvs-encryption-flash needs -DFLEETLING_LAYOUT=${FLEETLING_MEGABYTES}mb-keys")
endif()
fleetling_needs(nvs-encryption-flash "${FLEETLING_ENCRYPTION}")
if(IDF_TARGET STREQUAL "esp32")
    if("nvs-encryption-hmac" IN_LIST FLEETLING_FRAGMENTS)
        message(FATAL_ERROR "nvs-encryption-hmac: this chip has no HMAC peripheral")
    endif()
    if("download-secure" IN_LIST FLEETLING_FRAGMENTS)
        message(FATAL_ERROR "download-secure: this chip knows download-off alone")
    endif()
    # Secure boot v2, and the eFuse against download mode, came with revision 3.0.
    if("secure-boot-v2" IN_LIST FLEETLING_FRAGMENTS OR "download-off" IN_LIST FLEETLING_FRAGMENTS)
        list(APPEND SDKCONFIG_DEFAULTS "${FLEETLING_DIR}/sdkconfig/revision-3.esp32")
    endif()
endif()

set(MICROPY_FROZEN_MANIFEST "${CMAKE_CURRENT_LIST_DIR}/manifest.py")
